"""Class names of the segmentation benchmarks, as a text tower is asked for them.

One class a line in the order of the labels: its name in plain words, then our own synonyms, which
only the sliding-window protocol asks for. Names and orders are those of the data sets' authors
(mmsegmentation's tables agree); where a name is a label rather than a word ("pottedplant",
"door-stuff") it is written as one would say it.
"""

from __future__ import annotations

from itertools import chain

Classes = tuple[tuple[str, ...], ...]
"""For each class its name and then its synonyms."""


def parse_classes(text: str) -> Classes:
    """Return the classes of lines `name, synonym, …`."""
    return tuple(
        tuple(word.strip() for word in line.split(",")) for line in text.strip().splitlines()
    )


BACKGROUND = ("background",)
BACKGROUND_WORDS = tuple(
    chain.from_iterable(
        parse_classes("""
sky, cloud, sun, mountain, hill, forest, tree, bush, grass, meadow
sand, beach, sea, river, lake, snow, rock, soil, road, pavement
building, wall, floor, ceiling, window, curtain
""")
    )
)
"""What is behind the objects of VOC: 26 kinds of stuff, as many as in SCLIP's list."""

VOC = parse_classes("""
aeroplane, airplane, plane, jet
bicycle, bike
bird
boat, ship
bottle, glass bottle, plastic bottle
bus, coach
car, automobile
cat, kitten
chair, armchair
cow, bull, calf
dining table, table, desk
dog, puppy
horse, pony, foal
motorbike, motorcycle, scooter
person, man, woman, child, boy, girl, people
potted plant, houseplant, flower pot
sheep, lamb
sofa, couch
train, locomotive, tram
tv monitor, television, computer monitor, screen
""")

CONTEXT = parse_classes("""
aeroplane, airplane, plane
bag, handbag, backpack, suitcase
bed
bedclothes, sheet, blanket, pillow
bench
bicycle, bike
bird
boat, ship
book
bottle
building, house
bus, coach
cabinet, cupboard
car, automobile
cat
ceiling
chair, armchair
cloth, fabric, textile
computer, laptop
cow, bull, calf
cup, mug
curtain
dog
door
fence, railing
floor
flower
food
grass, lawn
ground, soil, dirt
horse
keyboard
light, lamp
motorbike, motorcycle
mountain, hill
computer mouse
person, man, woman, child
plate
platform
potted plant, houseplant
road, street
rock, stone
sheep
shelves, shelf
sidewalk, pavement
sign
sky, clouds
snow
sofa, couch
table, desk
track, rails
train, locomotive
tree
truck, lorry
tv monitor, television, screen
wall
water, river, sea
window
wood
""")
"""The 59 of Pascal Context in the order of mmsegmentation's converted maps, by name."""

CITYSCAPES = parse_classes("""
road, street
sidewalk, pavement
building, house
wall
fence
pole
traffic light
traffic sign
vegetation, tree, bush
terrain, grass, soil
sky
person, pedestrian
rider, cyclist, motorcyclist
car
truck
bus
train, tram
motorcycle, motorbike
bicycle, bike
""")

COLOURS = parse_classes("""
red
orange
yellow
green
blue
purple
black
white
""")

SHAPES = parse_classes("""
circle, disc
square
triangle
star
ring, hoop
cross, plus sign
diamond, rhombus
heart
""")
"""Of the tiny world, in the order of its own table."""
