"""The classes of COCO-Stuff (171) and of COCO-Panoptic (133); the form is `class_names`'s."""

from __future__ import annotations

from zoo.eval.segmentation.class_names import parse_classes

THINGS = parse_classes("""
person, man, woman, child
bicycle, bike
car, automobile
motorcycle, motorbike
airplane, aeroplane, plane
bus, coach
train, locomotive
truck, lorry
boat, ship
traffic light
fire hydrant
stop sign
parking meter
bench
bird
cat
dog
horse
sheep
cow
elephant
bear
zebra
giraffe
backpack, rucksack
umbrella, parasol
handbag, purse
tie, necktie
suitcase
frisbee
skis
snowboard
sports ball, ball
kite
baseball bat
baseball glove
skateboard
surfboard
tennis racket
bottle
wine glass
cup, mug
fork
knife
spoon
bowl
banana
apple
sandwich
orange
broccoli
carrot
hot dog
pizza
donut, doughnut
cake
chair
couch, sofa
potted plant, houseplant
bed
dining table
toilet
tv, television, monitor
laptop
computer mouse
remote control
keyboard
cell phone, mobile phone
microwave
oven
toaster
sink
refrigerator, fridge
book
clock
vase
scissors
teddy bear
hair dryer
toothbrush
""")
"""The 80 of COCO's detection task, which open both lists."""

STUFF = parse_classes("""
banner
blanket
branch
bridge
building
bush
cabinet
cage
cardboard
carpet
ceiling
ceiling tile
cloth
clothes
clouds
counter
cupboard
curtain
desk
dirt, soil
door
fence
marble floor
floor
stone floor
tiled floor
wooden floor
flower
fog
food
fruit
furniture
grass
gravel
ground
hill
house
leaves
light
mat
metal
mirror
moss
mountain
mud
napkin
net
paper
pavement, sidewalk
pillow
plant
plastic
platform
playing field
railing
railroad, railway track
river
road, street
rock
roof
rug
salad
sand
sea
shelf
sky
skyscraper
snow
solid surface
stairs
stone
straw
structure
table
tent
textile
towel
tree
vegetables
brick wall
concrete wall
wall
wall panel
stone wall
tiled wall
wooden wall
water
water drops
window blind
window
wood
""")
"""The 91 of COCO-Stuff, which follow the things."""

ABSENT_FROM_STUFF = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Category ids between 1 and 182 that COCO planned and never annotated; 171 are left."""

_PANOPTIC_STUFF = """
92 banner
93 blanket
95 bridge
100 cardboard
107 counter
109 curtain
112 door
118 wooden floor
119 flower
122 fruit
125 gravel
128 house
130 light
133 mirror
138 net
141 pillow
144 platform
145 playing field
147 railroad, railway track
148 river
149 road, street
151 roof
154 sand
155 sea
156 shelf
159 snow
161 stairs
166 tent
168 towel
171 brick wall
175 stone wall
176 tiled wall
177 wooden wall
178 water
180 window blind
181 window
184 tree, bush
185 fence, railing
186 ceiling
187 sky, clouds
188 cabinet, cupboard
189 table, desk
190 floor
191 pavement, sidewalk
192 mountain, hill
193 grass
194 dirt, ground, mud
195 paper
196 food, salad
197 building, skyscraper
198 rock, stone
199 wall
200 rug, carpet
"""

_stuff_lines = [line.partition(" ") for line in _PANOPTIC_STUFF.strip().splitlines()]
PANOPTIC = THINGS + parse_classes("\n".join(names for _, _, names in _stuff_lines))
PANOPTIC_IDS = (
    *(id for id in range(1, 91) if id not in ABSENT_FROM_STUFF),
    *(int(id) for id, _, _ in _stuff_lines),
)
"""Category id of each class of PANOPTIC (`panoptic_coco_categories.json` of panopticapi)."""
