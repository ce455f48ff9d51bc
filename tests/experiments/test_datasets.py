"""The data sets against known facts, and the protocol against exact arithmetic."""

import decimal
import hashlib
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from emunum.experiments.datasets import (
    BOSTON_SHA256,
    DATASETS,
    EMBEDDED,
    PUBLISHED,
    Table,
    TableSamples,
    load,
    parse_boston,
    split,
    standardise,
)

BOSTON_CSV = files("emunum_data").joinpath("boston.csv").read_bytes()
README = files("emunum_data").joinpath("README.md").read_text(encoding="utf-8")

KNOWN = "Known: toy, diabetes, boston, digits, mnist, fashion_mnist, cifar10, cifar100."

# Digests of the float64 arrays. scikit-learn 1.8.0 corrected the last bit of 11 values of diabetes.
ARRAYS_SHA256 = {
    "toy": {"6d19178acf8c7ba7ca98691f1e5e73fe9b6c6de397a6cd17c187c467837064b9"},
    "diabetes": {
        "84ec38030d0ff6dfdc32f475c5633e39e7ada9dbc328d3deb29bb757eec6a331",
        "7fef6f4d9e0be427b1f3244d8a4fddc8e911047a9cad2eaa6c010b7d58923780",
    },
    "boston": {"a452688f7de3e21b6013d6c370ad53e04c3181c33ad9f0dd91b8b2f67317e787"},
}

# Column means to six decimals as pandas' describe() prints them for scikit-learn's former load_boston().
BOSTON_MEANS = {
    "CRIM": 3.613524,
    "ZN": 11.363636,
    "INDUS": 11.136779,
    "CHAS": 0.069170,
    "NOX": 0.554695,
    "RM": 6.284634,
    "AGE": 68.574901,
    "DIS": 3.795043,
    "RAD": 9.549407,
    "TAX": 408.237154,
    "PTRATIO": 18.455534,
    "B": 356.674032,
    "LSTAT": 12.653063,
}


def small(features, target, name="small"):
    features = np.asarray(features, np.float64)
    return Table(
        name=name,
        features=features,
        target=np.asarray(target, np.float64).reshape(-1, 1),
        feature_names=tuple("abcdefgh"[: features.shape[1]]),
    )


def exactly_standardised(column):
    """Each (v - mean) / sd in rationals and a 60-digit square root, rounded at the end."""
    values = [Fraction(float(v)) for v in column]
    if len(set(values)) == 1:
        return np.zeros(len(values), np.float32)
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    with decimal.localcontext(prec=60):
        sd = (Decimal(variance.numerator) / variance.denominator).sqrt()
        z = [Decimal((v - mean).numerator) / (v - mean).denominator / sd for v in values]
    return np.array([np.float32(float(v)) for v in z])


def refusal_of(csv):
    with pytest.raises(ValueError) as error:
        parse_boston(csv)
    message = str(error.value)
    assert message.startswith(
        "boston.csv is damaged: its " if "its" in message else "boston.csv is damaged: "
    )
    assert message.endswith("Reinstall emunum, or restore data/boston.csv from the repository.")
    return message


def test_the_data_sets_stand_in_the_order_of_the_tables():
    assert DATASETS[:4] == tuple(EMBEDDED) == ("toy", "diabetes", "boston", "digits")
    assert DATASETS[4:] == tuple(PUBLISHED) == ("mnist", "fashion_mnist", "cifar10", "cifar100")


@pytest.mark.parametrize(
    ("name", "shape"), [("toy", (11, 1)), ("diabetes", (442, 10)), ("boston", (506, 13))]
)
def test_a_data_set_has_its_name_shape_and_checksum(name, shape):
    data = load(name)
    assert (data.name, data.task) == (name, "regression")
    assert data.features.shape == shape
    assert data.target.shape == (shape[0], 1)
    assert len(data.feature_names) == shape[1]
    assert data.features.dtype == data.target.dtype == np.float64
    assert data.sha256 in ARRAYS_SHA256[name]


def test_the_readme_states_every_checksum():
    for sha256 in (BOSTON_SHA256, *set.union(*ARRAYS_SHA256.values())):
        assert f"`{sha256}`" in README


def test_the_digest_covers_features_then_target_whatever_their_layout():
    features, target = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [6.0]])
    digest = hashlib.sha256(np.array([1, 2, 3, 4, 5, 6], "<f8").tobytes()).hexdigest()
    assert small(features, target).sha256 == digest
    assert small(np.asfortranarray(features), target).sha256 == digest


def test_toy_is_the_line_2x_plus_1():
    toy = load("toy")
    assert toy.features.ravel().tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert toy.target.ravel().tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21]


def test_boston_csv_has_its_checksum():
    assert hashlib.sha256(BOSTON_CSV.replace(b"\r\n", b"\n")).hexdigest() == BOSTON_SHA256


def test_boston_has_the_known_first_row_means_and_cap():
    boston = load("boston")
    first = [0.00632, 18, 2.31, 0, 0.538, 6.575, 65.2, 4.09, 1, 296, 15.3, 396.9, 4.98]
    assert boston.features[0].tolist() == first
    means = dict(zip(boston.feature_names, boston.features.mean(axis=0), strict=True))
    assert {column: f"{mean:.6f}" for column, mean in means.items()} == {
        column: f"{mean:.6f}" for column, mean in BOSTON_MEANS.items()
    }
    assert boston.target[0] == 24
    assert f"{boston.target.mean():.4f}" == "22.5328"
    assert (boston.target.min(), boston.target.max()) == (5, 50)
    assert np.count_nonzero(boston.target == 50) == 16


def test_boston_is_the_copy_in_mlxtend():
    source = pytest.importorskip("mlxtend.data", reason="mlxtend, the source of boston.csv, is not installed")
    features, target = source.boston_housing_data()
    boston = load("boston")
    assert_array_equal(boston.features, features)
    assert_array_equal(boston.target.ravel(), target)


def test_boston_csv_holds_the_shortest_decimals():
    cells = BOSTON_CSV.decode().replace("\n", ",").split(",")[14:-1]
    assert len(cells) == 506 * 14
    assert all(cell == repr(float(cell)).removesuffix(".0") for cell in cells)


def test_windows_line_ends_change_nothing():
    assert parse_boston(BOSTON_CSV.replace(b"\n", b"\r\n")).sha256 in ARRAYS_SHA256["boston"]


def test_a_truncated_boston_csv_is_refused():
    assert "it has 250 rows where 506 are expected" in refusal_of(b"\n".join(BOSTON_CSV.split(b"\n")[:251]))
    assert "line 507 has 12 columns where 14 are expected" in refusal_of(BOSTON_CSV[:-12])
    assert "its header is '' where 'CRIM,ZN," in refusal_of(b"")


def test_an_altered_boston_csv_is_refused():
    assert "its header is 'crim,ZN," in refusal_of(BOSTON_CSV.replace(b"CRIM", b"crim"))
    assert "line 2 has 15 columns where 14" in refusal_of(BOSTON_CSV.replace(b"0.00632,18", b"0.00632,1,8"))
    assert "it has 507 rows where 506" in refusal_of(BOSTON_CSV + b"\n")
    altered = refusal_of(BOSTON_CSV.replace(b"0.00632", b"0.00633"))
    assert f"where {BOSTON_SHA256} is expected" in altered
    assert "its SHA-256 is" in refusal_of(BOSTON_CSV.replace(b"0.00632", b"0.0063\xff"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bostn", f"unknown dataset 'bostn'. Did you mean 'boston'? {KNOWN}"),
        ("nowhere", f"unknown dataset 'nowhere'. {KNOWN}"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(ValueError) as error:
        load(name)
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["toy", "diabetes", "boston"])
def test_standardised_values_are_the_nearest_float32_of_the_exact_ones(name):
    # Why the bits are the same on every machine: measured on these numbers, the distance from an exact value
    # to the midpoint of two float32 is never below 2000 times the error of that value's float64 steps.
    data = load(name)
    x, y = standardise(data)
    assert x.dtype == y.dtype == np.float32
    for column, standardised in zip((*data.features.T, *data.target.T), (*x.T, *y.T), strict=True):
        assert_array_equal(exactly_standardised(column.ravel()), standardised.ravel())


def test_a_constant_column_becomes_zeros():
    x, _ = standardise(small([[1, 7], [2, 7], [3, 7]], [1, 2, 4]))
    assert x[:, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "test_split", "n_test"),
    [("toy", 0.2, 3), ("toy", 0.01, 1), ("toy", 0.9, 10), ("diabetes", 0.2, 89), ("boston", 0.2, 102)],
)
@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_a_split_tests_on_the_head_of_the_seeded_permutation(name, test_split, n_test, seed):
    data = load(name)
    x, y = standardise(data)
    order = np.random.RandomState(seed).permutation(len(x))
    parts = split(data, test_split, seed)
    assert (parts.validation, parts.task) == (None, "regression")
    for samples, rows in ((parts.train, order[n_test:]), (parts.test, order[:n_test])):
        assert (len(samples), samples.shape, samples.outputs) == (len(rows), x.shape[1:], 1)
        assert_array_equal(samples.features(slice(None)), x[rows])
        assert_array_equal(samples.targets(slice(None)), y[rows])


@pytest.mark.parametrize("rows", [slice(1, 6, 2), slice(None), np.array([5, 0, 5]), np.array([], np.intp)])
def test_samples_hand_out_the_rows_asked_for(rows):
    x, y = np.arange(24, dtype=np.float32).reshape(3, 8).T, np.arange(8, dtype=np.float32).reshape(8, 1)
    samples = TableSamples(x=x, y=y)
    for found, expected in ((samples.features(rows), x[rows]), (samples.targets(rows), y[rows])):
        assert_array_equal(found, expected)
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
    with pytest.raises(ValueError, match="these samples are rows of a table"):
        samples.augmented(rows, epoch=1, seed=2)


@pytest.mark.parametrize(("share", "n_validation"), [(0.1, 36), (0.5, 177), (1e-9, 1)])
def test_validation_samples_are_the_head_of_a_permutation_of_the_others(share, n_validation):
    data = load("diabetes")
    x, y = standardise(data)
    rest = np.random.RandomState(7).permutation(442)[89:]
    rest = rest[np.random.RandomState(7).permutation(353)]
    parts = split(data, 0.2, 7, share)
    assert parts.validation is not None
    assert_array_equal(parts.validation.features(slice(None)), x[rest[:n_validation]])
    assert_array_equal(parts.train.features(slice(None)), x[rest[n_validation:]])
    assert_array_equal(parts.train.targets(slice(None)), y[rest[n_validation:]])
    test = split(data, 0.2, 7).test
    assert_array_equal(parts.test.features(slice(None)), test.features(slice(None)))


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan")])
def test_a_validation_split_beyond_0_and_1_is_refused(share):
    with pytest.raises(ValueError, match=rf"validation_split {share} is outside \[0, 1\)\. Pass the share"):
        split(load("toy"), 0.2, 42, share)


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match=r"validation_split 0\.9 takes all 8 samples of 'toy'"):
        split(load("toy"), 0.2, 42, 0.9)


@pytest.mark.parametrize("test_split", [0, 1, -0.2, 1.5, float("nan")])
def test_a_test_split_beyond_0_and_1_is_refused(test_split):
    with pytest.raises(ValueError, match=rf"test_split {test_split} is outside \(0, 1\)\. Pass the share"):
        split(load("toy"), test_split, 42)


def test_a_test_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ValueError, match=r"test_split 0\.95 takes all 11 samples of 'toy' .* smaller one"):
        split(load("toy"), 0.95, 42)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_beyond_32_bits_is_refused(seed):
    with pytest.raises(ValueError, match=rf"seed {seed} is outside"):
        split(load("toy"), 0.2, seed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_place(value):
    with pytest.raises(ValueError, match=rf"data set 'small' holds {value} in row 2 .*column 'b'"):
        split(small([[1, 2], [3, 4], [5, value]], [1, 2, 3]), 0.5, 42)
    with pytest.raises(ValueError, match=rf"data set 'small' holds {value} in row 1 .*column 'target'"):
        standardise(small([[1, 2], [3, 4], [5, 6]], [1, value, 3]))


def test_arrays_that_do_not_fit_together_are_refused():
    x, y = np.zeros((3, 1)), np.zeros((3, 1))
    for features, target in ((x, y[:2]), (x, y.ravel()), (np.zeros((3, 2)), y), (x[:0], y[:0])):
        with pytest.raises(ValueError, match="data set 'odd' has features"):
            Table(name="odd", features=features, target=target, feature_names=("a",))
    with pytest.raises(ValueError, match="holds float32 features and a float64 target"):
        Table(name="odd", features=x.astype(np.float32), target=y, feature_names=("a",))


def test_the_global_generator_of_numpy_is_untouched():
    before = np.random.get_state(legacy=False)
    split(load("toy"), 0.2, 42)
    after = np.random.get_state(legacy=False)
    assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


def test_importing_the_module_imports_no_sklearn():
    code = "import sys, emunum.experiments.datasets; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_some_of_the_training_samples_are_those_that_scikit_learn_keeps():
    from sklearn.model_selection import train_test_split

    data = load("diabetes")
    x, y = standardise(data)
    whole = split(data, 0.2, 3, 0.1)
    some = split(data, 0.2, 3, 0.1, train_samples=50)
    rest, test = train_test_split(np.arange(442), test_size=0.2, random_state=3)
    train, validation = train_test_split(rest, test_size=0.1, random_state=3)
    kept, _ = train_test_split(train, train_size=50, random_state=3)
    assert_array_equal(some.train.features(slice(None)), x[kept])
    assert_array_equal(some.train.targets(slice(None)), y[kept])
    assert_array_equal(some.test.features(slice(None)), x[test])
    assert_array_equal(some.validation.features(slice(None)), x[validation])
    assert_array_equal(
        split(data, 0.2, 3, 0.1, train_samples=len(train)).train.features(slice(None)),
        whole.train.features(slice(None)),
    )


@pytest.mark.parametrize("samples", [0, -1, 9, 100])
def test_more_training_samples_than_there_are_are_refused(samples):
    with pytest.raises(ValueError, match=rf"train_samples {samples} is out of range: .*'toy'.* 8 "):
        split(load("toy"), 0.2, 42, train_samples=samples)
