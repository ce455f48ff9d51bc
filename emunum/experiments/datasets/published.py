"""Image sets as they were published: files, checksums, mirrors, terms. Data, and nothing else.

Sources of the MD5 sums. `Part.md5` is of a file's content, uncompressed. MNIST and Fashion-MNIST: those of
the compressed files are the ones torchvision checks (torchvision.datasets.mnist); those of the content are
in wide use, and the MNIST ones were computed again here. CIFAR: those of the archives stand on the authors'
page, https://www.cs.toronto.edu/~kriz/cifar.html; those of the batches were published by others who
unpacked the archives (CIFAR-10 by several, CIFAR-100 by one), so an archive that is right overrules them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from emunum.experiments.datasets.images import Augmentation


class Layout(StrEnum):
    """How a published file holds its samples."""

    IDX = "idx"
    """One file of images and one of labels, each with a header."""
    CIFAR = "cifar"
    """Records of label bytes (the last one counts), then the pixels, without a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of the layout: its name, how many samples it holds and the MD5 of its content."""

    path: str
    samples: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A file as the mirrors serve it, compressed."""

    path: str
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published image set. `train` and `test` are, for IDX, the images' file and the labels'."""

    name: str
    title: str
    layout: Layout
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    archives: tuple[Archive, ...]
    mirrors: tuple[str, ...]
    """Addresses of folders, tried in order."""
    source: str
    terms: str
    augmentation: Augmentation
    folder: str = ""
    """The folder of the parts inside a CIFAR archive."""
    label_bytes: int = 1
    jpeg_copy: str | None = None
    """Name of a file with the images as JPEG, which stands in where nothing else is found."""

    @property
    def n_train(self) -> int:
        """Training images."""
        return _samples(self.layout, self.train)

    @property
    def n_test(self) -> int:
        """Test images."""
        return _samples(self.layout, self.test)


def _samples(layout: Layout, parts: tuple[Part, ...]) -> int:
    return parts[0].samples if layout is Layout.IDX else sum(part.samples for part in parts)


def _idx(kind: str, samples: int, images_md5: str, labels_md5: str) -> tuple[Part, Part]:
    return (
        Part(path=f"{kind}-images-idx3-ubyte", samples=samples, md5=images_md5),
        Part(path=f"{kind}-labels-idx1-ubyte", samples=samples, md5=labels_md5),
    )


MNIST = Published(
    name="mnist",
    title="MNIST: handwritten digits",
    layout=Layout.IDX,
    shape=(1, 28, 28),
    classes=tuple("0123456789"),
    train=_idx("train", 60_000, "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    test=_idx("t10k", 10_000, "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    archives=(
        Archive(path="train-images-idx3-ubyte.gz", md5="f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        Archive(path="train-labels-idx1-ubyte.gz", md5="d53e105ee54ea40749a09fcbcd1e9432"),
        Archive(path="t10k-images-idx3-ubyte.gz", md5="9fb629c4189551a2d022fa330f9573f3"),
        Archive(path="t10k-labels-idx1-ubyte.gz", md5="ec29112dd5afa0611ce80d1b7f02629c"),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    source="Y. LeCun, C. Cortes and C. J. C. Burges, http://yann.lecun.com/exdb/mnist/",
    terms="none stated with the files; often given as CC BY-SA 3.0",
    augmentation=Augmentation.AFFINE,
)

FASHION_MNIST = Published(
    name="fashion_mnist",
    title="Fashion-MNIST: articles of clothing",
    layout=Layout.IDX,
    shape=(1, 28, 28),
    classes=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    train=_idx("train", 60_000, "f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
    test=_idx("t10k", 10_000, "8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
    archives=(
        Archive(path="train-images-idx3-ubyte.gz", md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        Archive(path="train-labels-idx1-ubyte.gz", md5="25c81989df183df01b3e8a0aad5dffbe"),
        Archive(path="t10k-images-idx3-ubyte.gz", md5="bef4ecab320f06d8554ea6380940ec79"),
        Archive(path="t10k-labels-idx1-ubyte.gz", md5="bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    source="H. Xiao, K. Rasul and R. Vollgraf (Zalando), https://github.com/zalandoresearch/fashion-mnist",
    terms="MIT",
    augmentation=Augmentation.AFFINE,
)  # fmt: skip

_CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")
_CIFAR_SOURCE = "A. Krizhevsky, V. Nair and G. Hinton, https://www.cs.toronto.edu/~kriz/cifar.html"
_CIFAR_TERMS = "none stated; the authors ask that their technical report of 2009 be cited"

CIFAR10 = Published(
    name="cifar10",
    title="CIFAR-10: small photographs",
    layout=Layout.CIFAR,
    shape=(3, 32, 32),
    classes=(
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ),
    train=(
        Part(path="data_batch_1.bin", samples=10_000, md5="5dd7e06a14cb22eb9f671a540d1b7c25"),
        Part(path="data_batch_2.bin", samples=10_000, md5="5ea93a67294ea407fff1d09f752e9692"),
        Part(path="data_batch_3.bin", samples=10_000, md5="942cd6a4bcdd0dd3c604fbe906cb4421"),
        Part(path="data_batch_4.bin", samples=10_000, md5="ae636b3ba5c66a11e91e8cb52e771fcb"),
        Part(path="data_batch_5.bin", samples=10_000, md5="53f37980c15c3d472c316c40844f3f0d"),
    ),
    test=(Part(path="test_batch.bin", samples=10_000, md5="803d5f7f4d78ea53de84dbe85f74fb6d"),),
    archives=(Archive(path="cifar-10-binary.tar.gz", md5="c32a1d4ab5d03f1284b67883e8d87530"),),
    mirrors=_CIFAR_MIRRORS,
    source=_CIFAR_SOURCE,
    terms=_CIFAR_TERMS,
    augmentation=Augmentation.CROP_AND_FLIP,
    folder="cifar-10-batches-bin",
    jpeg_copy="cifar10-jpeg.npz",
)  # fmt: skip

_CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR100 = Published(
    name="cifar100",
    title="CIFAR-100: small photographs in fine classes",
    layout=Layout.CIFAR,
    shape=(3, 32, 32),
    classes=tuple(_CIFAR100_CLASSES.split()),
    train=(Part(path="train.bin", samples=50_000, md5="6172c7755cfe09b2fe270c85cebc1b15"),),
    test=(Part(path="test.bin", samples=10_000, md5="4499cfba6c016c1be1438163640a0898"),),
    archives=(Archive(path="cifar-100-binary.tar.gz", md5="03b5dce01913d631647c71ecec9e9cb8"),),
    mirrors=_CIFAR_MIRRORS,
    source=_CIFAR_SOURCE,
    terms=_CIFAR_TERMS,
    augmentation=Augmentation.CROP_AND_FLIP,
    folder="cifar-100-binary",
    label_bytes=2,
)

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {published.name: published for published in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100)}
)
"""Name to description."""
