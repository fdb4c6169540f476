"""Labelled photos for the benchmarks of relevance: one library of several sets, and its queries.

The library is imagenet-1000 (one photo a class), clothing (10 classes) and Flickr8k dev (1,000
photos with five captions each) together. Queries come in families:

- "clothing": the ten classes, by their names;
- "groups": ImageNet classes gathered under a broader everyday name by the table `GROUPS`;
- "classes": single ImageNet classes, one photo each;
- "captions": things that the captions of Flickr8k name, by the table `MENTIONS`.

For every query a photo is relevant, irrelevant, or not judged. Photos that are not judged are in
the library and may be found, but count neither way: those of Flickr8k where nothing says whether
they show the thing, and where fewer than half of the captions name it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import CannotMeasure
from starter_quality import embed_photos, rows

from imgsearch.encoders import Encoder

Vectors = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

NEEDED = ("imagenet-1000/labels.tsv", "clothing/labels.tsv", "flickr8k/dev.tsv")

# Everyday name: the ImageNet classes below it, as ranges of class numbers (both ends included; the
# numbers follow WordNet, so most animals are ranges), or as names from labels.tsv.
GROUPS: dict[str, Sequence[tuple[int, int] | str]] = {
    "dog": [(151, 268)],
    "cat": [(281, 285)],
    "bird": [(7, 24), (80, 100), (127, 146)],
    "fish": [(0, 6), (389, 397)],
    "snake": [(52, 68)],
    "lizard": [(38, 48)],
    "frog": [(30, 32)],
    "turtle": [(33, 37)],
    "crocodile": [(49, 50)],
    "spider": [(72, 77)],
    "monkey": [(370, 382)],
    "butterfly": [(321, 326)],
    "beetle": [(300, 307)],
    "insect": [(300, 326)],
    "bear": [(294, 297)],
    "wolf": [(269, 271)],
    "fox": [(277, 280)],
    "rabbit": [(330, 332)],
    "elephant": [(385, 386)],
    "crab": [(118, 121), "hermit crab"],
    "salamander": [(25, 29)],
    "mushroom": ["mushroom", (991, 997)],
    "car": [
        *("station wagon", "taxicab", "convertible", "jeep", "limousine", "minivan"),
        *("ford model t", "police van", "race car", "sports car"),
    ],
    "truck": [
        *("fire truck", "garbage truck", "moving van", "pickup truck", "tow truck"),
        "semi-trailer truck",
    ],
    "bus": ["minibus", "school bus", "trolleybus"],
    "train": [
        *("high-speed train", "electric locomotive", "steam locomotive", "freight car"),
        *("railroad car", "tram"),
    ],
    "bicycle": ["tandem bicycle", "mountain bike"],
    "airplane": ["airliner", "military aircraft", "airplane wing"],
    "boat": [
        *("canoe", "catamaran", "fireboat", "gondola", "lifeboat", "motorboat", "sailboat"),
        *("schooner", "trimaran", "pirate ship"),
    ],
    "ship": [
        *("aircraft carrier", "container ship", "ocean liner", "pirate ship", "schooner"),
        "shipwreck",
    ],
    "guitar": ["acoustic guitar", "electric guitar", "banjo"],
    "musical instrument": [
        *("accordion", "acoustic guitar", "banjo", "bassoon", "cello", "cornet", "drum"),
        *("electric guitar", "flute", "French horn", "gong", "grand piano", "harmonica", "harp"),
        *("maraca", "marimba", "oboe", "ocarina", "pan flute", "pipe organ", "saxophone"),
        *("steel drum", "trombone", "upright piano", "violin"),
    ],
    "piano": ["grand piano", "upright piano"],
    "clock": ["analog clock", "digital clock", "wall clock", "stopwatch", "digital watch"],
    "telephone": ["rotary dial telephone", "mobile phone", "payphone"],
    "computer": [
        *("desktop computer", "laptop computer", "notebook computer", "hand-held computer"),
    ],
    "bottle": [
        *("beer bottle", "pill bottle", "soda bottle", "water bottle", "wine bottle"),
    ],
    "gun": ["assault rifle", "revolver", "rifle"],
    "helmet": ["crash helmet", "football helmet", "Pickelhaube"],
    "umbrella": ["umbrella"],
    "fruit": [
        *("Granny Smith apple", "strawberry", "orange", "lemon", "fig", "pineapple", "banana"),
        *("jackfruit", "cherimoya (custard apple)", "pomegranate"),
    ],
    "vegetable": [
        *("cabbage", "broccoli", "cauliflower", "zucchini", "spaghetti squash", "acorn squash"),
        *("butternut squash", "cucumber", "artichoke", "bell pepper", "cardoon"),
    ],
    "food": [(924, 939), (943, 943), (945, 946), (948, 957), (959, 965)],
    "ball": [
        *("baseball", "basketball", "croquet ball", "golf ball", "ping-pong ball"),
        *("rugby ball", "soccer ball", "tennis ball", "volleyball"),
    ],
    "bridge": ["through arch bridge", "suspension bridge", "viaduct"],
    "tower": ["bell tower", "lighthouse", "water tower", "obelisk"],
    "bag": ["backpack", "messenger bag", "plastic bag", "purse"],
    "shop": [
        *("bakery", "barbershop", "bookstore", "butcher shop", "candy store"),
        *("grocery store", "shoe store", "tobacco shop", "toy store"),
    ],
    "mask": ["mask", "gas mask or respirator", "balaclava ski mask", "oxygen mask"],
    "camera": ["Polaroid camera", "reflex camera"],
    "lamp": ["table lamp", "lampshade", "spotlight"],
    "flower": ["daisy", "yellow lady's slipper", "rapeseed"],
    "mountain": ["mountain", "volcano", "valley", "cliff"],
    "sea shore": ["sandbar", "beach", "promontory", "lakeshore", "breakwater"],
    "chair": ["barber chair", "folding chair", "rocking chair", "throne"],
    "bed": ["four-poster bed", "infant bed", "cradle", "bassinet"],
}
# Whether these show the thing is a matter of words, or of what else is in the photo: not judged.
UNCLEAR: dict[str, Sequence[tuple[int, int] | str]] = {
    "dog": ["dingo", "dhole", "African wild dog", "dog sled"],
    "cat": [(286, 293)],
    "bird": ["birdhouse"],
    "spider": ["spider web", "harvestman"],
    "monkey": [(365, 369), (383, 384)],
    "insect": ["tick", "apiary", "honeycomb", "daisy"],
    "butterfly": ["daisy"],
    "wolf": ["coyote", "husky", "Siberian Husky", "Alaskan Malamute"],
    "elephant": ["tusker"],
    "bear": ["teddy bear", "giant panda"],
    "crab": ["crayfish"],
    "car": [
        *("pickup truck", "minibus", "ambulance", "car mirror", "car wheel", "radiator grille"),
        *("recreational vehicle", "moving van", "tow truck", "go-kart", "golf cart"),
        *("parking meter", "gas pump", "seat belt", "odometer", "amphibious vehicle"),
    ],
    "truck": ["half-track", "snowplow", "ambulance", "jeep", "amphibious vehicle"],
    "bus": ["tram", "recreational vehicle"],
    "train": ["trolleybus"],
    "bicycle": ["tricycle", "unicycle", "rickshaw"],
    "airplane": ["space shuttle", "aircraft carrier"],
    "boat": [
        *("container ship", "ocean liner", "aircraft carrier", "submarine", "dock", "paddle"),
        *("boathouse", "amphibious vehicle", "shipwreck", "lakeshore", "breakwater", "pier"),
        "paddle wheel",
    ],
    "ship": [
        *("sailboat", "catamaran", "trimaran", "fireboat", "dock", "submarine", "motorboat"),
        *("lifeboat", "drilling rig"),
    ],
    "guitar": ["plectrum", "music speaker", "stage"],
    "musical instrument": ["drumstick", "stage", "bell or wind chime", "whistle", "plectrum"],
    "piano": ["pipe organ"],
    "clock": ["hourglass", "sundial"],
    "computer": [
        *("monitor", "CRT monitor", "computer keyboard", "computer mouse", "desk", "modem"),
        *("hard disk drive", "iPod", "printer", "keyboard space bar", "website", "joystick"),
        "typewriter keyboard",
    ],
    "bottle": [
        *("bottle cap", "beer glass", "perfume", "red wine", "whiskey jug", "water jug"),
        *("lotion", "sunscreen", "hair spray", "cocktail shaker", "soap dispenser", "milk can"),
        "drink pitcher",
    ],
    "gun": ["holster", "cannon", "military uniform", "bulletproof vest", "tank"],
    "helmet": [
        *("military hat (bearskin or shako)", "gas mask or respirator", "bobsleigh", "go-kart"),
        *("breastplate", "cuirass", "chain mail", "moped", "vespa", "race car", "snowmobile"),
        *("baseball player", "hockey puck", "mountain bike"),
    ],
    "fruit": [
        *("acorn squash", "spaghetti squash", "butternut squash", "cucumber", "zucchini"),
        *("bell pepper", "grocery store", "rose hip", "acorn", "horse chestnut seed", "trifle"),
        *("corn", "corn cob", "mixing bowl"),
    ],
    "vegetable": ["corn", "corn cob", "mushroom", "grocery store", "guacamole", (991, 997)],
    "food": [
        *("plate", "bakery", "grocery store", "butcher shop", "soup bowl", "frying pan", "wok"),
        *("mixing bowl", "dining table", "restaurant", "corn", "corn cob", "eggnog", "red wine"),
        *("tea cup", "espresso", "spatula", "rotisserie", "tray", "candy store", "toaster"),
        *("Petri dish", "Dutch oven", "American lobster", "Dungeness crab", "waffle iron"),
        *((991, 998), (940, 949)),
    ],
    "ball": [
        *("racket", "football helmet", "baseball player", "scoreboard", "punching bag"),
        "hockey puck",
    ],
    "bridge": ["dam", "pier"],
    "tower": [
        *("castle", "church", "mosque", "palace", "stupa", "monastery", "triumphal arch"),
        *("construction crane", "dome"),
    ],
    "bag": ["sleeping bag", "punching bag", "shopping basket", "wallet", "pencil case"],
    "shop": ["restaurant", "vending machine", "shopping cart", "shopping basket"],
    "lamp": ["candle", "torch", "carved pumpkin", "traffic light"],
    "flower": [
        *("plant pot", "vase", "rose hip", "greenhouse", "artichoke", "cardoon", "bee"),
        *("hummingbird", (321, 326)),
    ],
    "mountain": [
        *("cliff dwelling", "dam", "promontory", "geyser", "lakeshore", "megalith", "ski"),
        *("mountain bike", "Alpine ibex", "bighorn sheep", "castle"),
    ],
    "sea shore": [
        *("pier", "dock", "cliff", "lighthouse", "coral reef", "shipwreck", "sea lion"),
        *("container ship", "ocean liner", "drilling rig", "pirate ship"),
    ],
    "chair": [
        *("dining table", "desk", "patio", "park bench", "couch", "toilet seat", "barbershop"),
        *("restaurant", "tray"),
    ],
    "bed": ["couch", "quilt", "pillow", "sleeping bag"],
}
# Clothes were photographed on beds too.
UNCLEAR_ON_CLOTHES = ("bed",)
# The clothes of these classes are on ImageNet photos too.
CLOTHES: dict[str, Sequence[str]] = {
    "dress": ["gown", "hoop skirt"],
    "hat": ["cowboy hat", "sombrero", "poke bonnet", "graduation cap"],
    "longsleeve": ["sweatshirt"],
    "outwear": ["cardigan", "fur coat", "trench coat", "lab coat", "poncho", "cloak"],
    "pants": ["jeans"],
    "shirt": [],
    "shoes": ["clogs", "cowboy boot", "slip-on shoe", "sneaker", "sandal"],
    "shorts": ["swim trunks / shorts"],
    "skirt": ["miniskirt", "overskirt", "hoop skirt", "sarong"],
    "t-shirt": ["T-shirt"],
}
# What a caption that names the thing contains. What people mention only by the way (hats, shirts,
# chairs) is left out: where it is not mentioned it may be there nevertheless.
MENTIONS: dict[str, str] = {
    "dog": r"dogs?|pupp(y|ies)|hounds?|terriers?|retrievers?|poodles?|greyhounds?",
    "cat": r"cats?|kittens?",
    "bird": r"birds?|ducks?|geese|goose|swans?|pigeons?|seagulls?|eagles?",
    "horse": r"horses?|pon(y|ies)",
    "bicycle": r"bikes?|bicycles?|bicyclists?|cyclists?|biker|bikers|biking",
    "motorcycle": r"motorcycles?|motorbikes?|dirt ?bikes?|motocross|motorcyclists?",
    "car": r"cars?|racecars?|suv|van",
    "boat": r"boats?|canoes?|kayaks?|sailboats?|rowboats?|raft",
    "snow": r"snow|snowy|snowboard(er|ing)?|ski(s|er|ers|ing)?|sled",
    "beach": r"beach(es)?|seashore|shore",
    "water": r"water|lake|ocean|sea|river|pool|waves?|pond|surf(er|ing)?|swim(s|ming|mer)?",
    "swimming pool": r"pool",
    "grass": r"grass|grassy|lawn",
    "mountain": r"mountains?|cliffs?|peaks?",
    "football player": r"football|soccer",
    "basketball": r"basketball",
    "skateboard": r"skateboards?|skateboard(er|ing|ers)|skater",
    "surfing": r"surf(s|er|ers|ing|board|boarder)?",
    "climbing": r"climb(s|er|ers|ing)?",
    "baby": r"bab(y|ies)|infant|toddler",
    "crowd": r"crowds?|audience",
    "children playing": r"(children|kids|boys|girls).*play(s|ing)?",
    "bride": r"bride|wedding",
    "tennis": r"tennis",
    "tent": r"tents?|camp(ing|site)?",
    "swing": r"swings?|swinging",
    "snowboard": r"snowboard(s|er|ers|ing)?",
    "fire": r"fire|bonfire|campfire|fireworks?",
    "hockey": r"hockey",
    "baseball": r"baseball|batter|umpire",
}
_ENOUGH_CAPTIONS = 3


@dataclass(frozen=True, eq=False)
class Labelled:
    """A query and what is known of the library's photos: bool [n] each."""

    words: str
    relevant: Mask
    judged: Mask


@dataclass(frozen=True, eq=False)
class Collection:
    """The photos, unit rows float32 [n, d], and the queries of each family."""

    vectors: Vectors
    paths: tuple[Path, ...]
    families: dict[str, list[Labelled]]


def collection(encoder: Encoder, data: Path, cache: Path) -> Collection:
    """Embed the photos (once for a model: kept in `cache`) and label them for every query."""
    missing = [name for name in NEEDED if not (data / name).is_file()]
    if missing:
        raise CannotMeasure(f"{data} lacks {', '.join(missing)}; name the folder with --data")
    objects = rows(data / "imagenet-1000" / "labels.tsv")
    clothes = rows(data / "clothing" / "labels.tsv")
    captions: dict[str, list[str]] = {}
    for path, caption in rows(data / "flickr8k" / "dev.tsv"):
        captions.setdefault(path, []).append(caption)
    paths = (
        *(data / "imagenet-1000" / row[0] for row in objects),
        *(data / "clothing" / row[0] for row in clothes),
        *(data / "flickr8k" / path for path in captions),
    )
    return Collection(
        embedded(encoder, paths, cache / "labelled"),
        paths,
        _families(objects, [row[1] for row in clothes], list(captions.values())),
    )


def embedded(encoder: Encoder, paths: Sequence[Path], cache: Path) -> Vectors:
    """Return unit rows [n, d], from the cache if this model has embedded as many photos there."""
    facts = encoder.description
    file = cache.with_name(f"{cache.name}-{facts.name}-{facts.revision}-{len(paths)}.npy")
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, embed_photos(encoder, paths))
    vectors: Vectors = np.load(file, allow_pickle=False)
    return vectors


def average_precision(query: Labelled, scores: npt.NDArray[np.float32]) -> float:
    """Return the average precision over the photos that are judged."""
    kept = query.relevant[query.judged][np.argsort(-scores[query.judged], kind="stable")]
    return float((np.cumsum(kept) / np.arange(1, len(kept) + 1))[kept].mean())


def _families(
    objects: Sequence[Sequence[str]],
    clothes: Sequence[str],
    captions: Sequence[Sequence[str]],
) -> dict[str, list[Labelled]]:
    number = np.array([int(row[1]) for row in objects])
    name = np.array([row[3] for row in objects])
    kind = np.array(clothes)
    no_clothes = np.zeros(len(clothes), dtype=bool)

    def of_objects(members: Sequence[tuple[int, int] | str]) -> Mask:
        found = np.zeros(len(objects), dtype=bool)
        for member in members:
            if isinstance(member, str):
                found |= name == member
            else:
                found |= (number >= member[0]) & (number <= member[1])
        return found

    def labelled(words: str, among_objects: Mask, among_clothes: Mask) -> Labelled:
        shown, silent = _mentions(words, captions)
        relevant = np.concatenate([among_objects, among_clothes, shown])
        unclear = of_objects(UNCLEAR.get(words, ())) & ~among_objects
        clothes_judged = np.full(len(clothes), words not in UNCLEAR_ON_CLOTHES)
        judged = np.concatenate([~unclear, clothes_judged, shown | silent])
        return Labelled(words, relevant, judged)

    nothing = np.zeros(len(objects), dtype=bool)
    families = {
        "clothing": [
            labelled(words, of_objects(more), kind == words) for words, more in CLOTHES.items()
        ],
        "groups": [
            labelled(words, of_objects(members), no_clothes) for words, members in GROUPS.items()
        ],
        # Two pairs of classes share a name; a query by it asks for both.
        "classes": [
            labelled(str(words), name == words, no_clothes) for words in dict.fromkeys(name)
        ],
        "captions": [labelled(words, nothing, no_clothes) for words in MENTIONS],
    }
    for query in families["captions"]:
        # ImageNet and clothing have no captions, and are judged in the other families.
        query.judged[: -len(captions)] = False
    return families


def _mentions(words: str, captions: Sequence[Sequence[str]]) -> tuple[Mask, Mask]:
    """Tell which photos most captions say to show it, and which no caption does."""
    if words not in MENTIONS:
        return np.zeros(len(captions), dtype=bool), np.zeros(len(captions), dtype=bool)
    pattern = re.compile(rf"\b({MENTIONS[words]})\b", re.IGNORECASE)
    counts = np.array([sum(bool(pattern.search(c)) for c in five) for five in captions])
    return counts >= _ENOUGH_CAPTIONS, counts == 0
