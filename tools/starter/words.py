"""The words of a model folder, by which slips of the keys are put right; runs alone, too.

Taught are the words of captions, class names and our list of visible things, but for those of
captions that no dictionary has: captions have slips of their own. The dictionary (Debian's packages
wamerican and wbritish, made of SCOWL) tells what is spelt right besides; what the tokenizer has
whole need not be told.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from corpus import class_names
from imgsearch.encoders.spelling import WORDS
from imgsearch.search.vocabulary import COMMON_WORDS
from label_groups import KINDS, PLACES
from sources import dictionaries
from texts import read_captions

# A class is named once and has as many photos as some captions.
_OF_A_NAME = 3
_AT_LEAST = 2


def write_words(folder: Path, data: Path) -> Path:
    """Write the list of words beside the tokenizer of `folder`."""
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    right = {word for path in dictionaries() for word in read_dictionary(path)}
    captions = read_captions(data / "flickr8k" / "train.tsv").values()
    counts = Counter(words_of(caption for five in captions for caption in five))
    names = set(words_of([*class_names(data), *KINDS, *PLACES, *COMMON_WORDS]))
    counts.update(dict.fromkeys(names, _OF_A_NAME))
    spelt = right | names | tokens.keys()
    taught = [word for word, count in counts.items() if count >= _AT_LEAST and word in spelt]
    taught.sort(key=lambda word: (-counts[word], word))
    others = sorted(right - tokens.keys() - set(taught))
    content = "\n".join(taught) + "\n\n" + "\n".join(others) + "\n"
    path = folder / WORDS
    path.write_bytes(gzip.compress(content.encode("ascii"), mtime=0))
    return path


def words_of(texts: Iterable[str]) -> Iterable[str]:
    """Yield the words of at least three letters, in lower case."""
    for text in texts:
        yield from re.findall(r"(?<![\w'])[a-z]{3,}(?![\w'])", text.lower())


def read_dictionary(path: Path) -> Iterable[str]:
    """Yield the words of a dictionary that may be asked for, names included, in lower case."""
    for line in path.read_text(encoding="utf-8").split():
        if re.fullmatch("[A-Za-z]{4,20}", line):
            yield line.lower()


if __name__ == "__main__":
    print(write_words(Path(sys.argv[1]), Path(sys.argv[2])))
