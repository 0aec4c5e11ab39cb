"""The 150 classes of ADE20K's scene parsing benchmark; the form is `class_names`'s."""

from __future__ import annotations

from zoo.eval.segmentation.class_names import parse_classes

ADE20K = parse_classes("""
wall
building, edifice
sky
floor, flooring
tree
ceiling
road, route
bed
window, window pane
grass
cabinet
sidewalk, pavement
person, man, woman, child
earth, ground, soil
door
table
mountain
plant, flora
curtain, drape
chair
car, automobile
water
painting, picture
sofa, couch
shelf
house
sea
mirror
rug, carpet
field
armchair
seat
fence
desk
rock, stone
wardrobe, closet
lamp
bathtub, bath
railing, rail
cushion
base, pedestal, stand
box
column, pillar
signboard, sign
chest of drawers, dresser
counter
sand
sink, washbasin
skyscraper
fireplace, hearth
refrigerator, fridge
grandstand, covered stand
path
stairs, steps
runway
case, display case, showcase
pool table, billiard table
pillow
screen door
stairway, staircase
river
bridge
bookcase
window blind
coffee table, cocktail table
toilet, commode
flower
book
hill
bench
countertop
stove, cooker
palm tree, palm
kitchen island
computer
swivel chair
boat
bar
arcade machine
hovel, hut, shack, shanty
bus, coach
towel
light, light source
truck, lorry
tower
chandelier
awning, sunshade
streetlight, street lamp
booth, stall, kiosk
television, tv
airplane, aeroplane, plane
dirt track
clothes, apparel
pole
land
bannister, balustrade, handrail
escalator, moving staircase
ottoman, pouf, hassock
bottle
buffet, sideboard
poster
stage
van
ship
fountain
conveyor belt
canopy
washing machine, washer
toy, plaything
swimming pool
stool
barrel, cask
basket
waterfall
tent
bag
minibike, motorbike
cradle
oven
ball
food
step, stair
storage tank, tank
brand name, trade name
microwave, microwave oven
flowerpot, pot
animal
bicycle, bike
lake
dishwasher
screen, projection screen
blanket
sculpture
exhaust hood, hood
sconce
vase
traffic light, traffic signal
tray
trash can, ashcan, dustbin
fan
pier, wharf, dock
crt screen
plate
monitor
bulletin board, notice board
shower
radiator
drinking glass, glass
clock
flag
""")
