"""Ordinary words, against which a query is weighed: does it say more of a picture than they do?

A fixed list of visible things, written down before anything was measured. Their vectors are made
once for a model (329 short texts, 1 to 2 s of processor time with the starter) and kept beside it.
"""

from __future__ import annotations

_LIST = """
person; man; woman; child; baby; boy; girl; crowd; family; couple; face; hand; dog; cat;
horse; cow; sheep; pig; goat; bird; duck; chicken; fish; shark; whale; snake; lizard; frog;
turtle; spider; insect; bee; butterfly; beetle; ant; bear; wolf; fox; rabbit; mouse; squirrel;
deer; elephant; lion; tiger; zebra; giraffe; monkey; camel; crab; snail; jellyfish; dinosaur;
owl; eagle; penguin; swan; parrot; tree; flower; grass; forest; leaf; mushroom; cactus; plant;
garden; field; farm; mountain; hill; valley; rock; desert; beach; sea; lake; river; waterfall;
island; sky; cloud; sunset; night; snow; ice; rain; fire; smoke; moon; star; house; building;
church; castle; tower; bridge; road; street; city; village; door; window; wall; roof; fence;
stairs; room; kitchen; bathroom; bedroom; office; school; shop; restaurant; market; library;
museum; factory; station; airport; harbor; park; playground; stadium; prison; tent; barn;
lighthouse; car; truck; bus; taxi; train; tram; bicycle; motorcycle; boat; ship; sailboat;
canoe; airplane; helicopter; rocket; balloon; tractor; ambulance; tank; wheel; engine; table;
chair; sofa; bed; desk; shelf; cupboard; lamp; mirror; carpet; curtain; pillow; blanket;
clock; vase; candle; basket; box; bottle; cup; glass; bowl; plate; spoon; fork; knife; pan;
pot; kettle; oven; refrigerator; sink; toilet; bathtub; towel; soap; computer; laptop;
keyboard; telephone; television; radio; camera; printer; screen; microphone; speaker; battery;
cable; robot; book; newspaper; letter; map; poster; painting; drawing; photograph; statue;
sign; flag; pen; pencil; scissors; paper; money; coin; key; lock; ring; necklace; watch;
hammer; saw; drill; screwdriver; rope; ladder; shovel; broom; bucket; hose; tool; machine;
gun; sword; cannon; shirt; t-shirt; sweater; jacket; coat; dress; skirt; trousers; jeans;
shorts; shoe; boot; sandal; hat; cap; helmet; glove; scarf; sock; tie; suit; uniform;
swimsuit; underwear; belt; bag; backpack; purse; umbrella; glasses; mask; bread; cake; pizza;
sandwich; hamburger; rice; pasta; soup; salad; meat; egg; cheese; apple; banana; orange;
lemon; strawberry; grape; pineapple; tomato; potato; carrot; corn; cabbage; pumpkin; pepper;
chocolate; ice cream; coffee; tea; wine; beer; milk; ball; football; basketball; tennis;
baseball; golf; skateboard; surfboard; ski; sled; swimming pool; kite; toy; doll; puzzle;
guitar; piano; violin; drum; trumpet; flute; dancer; musician; soldier; player; bride; doctor;
cook
"""

COMMON_WORDS: tuple[str, ...] = tuple(word.strip() for word in _LIST.split(";"))
