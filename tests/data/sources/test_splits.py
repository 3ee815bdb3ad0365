import numpy as np
import pytest

from sslcli.data.sources.splits import open_splits
from sslcli.errors import DataError


def describes(source):
    return {source.describe(row) for row in range(len(source))}


def classes(tmp_path, write_files, counts, folder="set"):
    files = {f"{name}/{row}.png": row for name, count in counts.items() for row in range(count)}
    return str(write_files(tmp_path / folder, files))


def test_own_test_part_comes_before_a_holdout(options):
    splits = open_splits(options(source="digits"))
    assert (len(splits.train), len(splits.test)) == (1442, 355)
    assert "test part" in splits.note


def test_test_of_the_config_comes_first(tmp_path, write_files, options):
    spec = classes(tmp_path, write_files, {"0": 3, "1": 2})
    splits = open_splits(options(source="digits", test=spec))
    assert (len(splits.train), len(splits.test)) == (1442, 5)
    assert spec in splits.note


def test_holdout_is_a_function_of_the_seed(tmp_path, write_files, options):
    spec = classes(tmp_path, write_files, {"a": 20, "b": 20})
    every = [options(source=spec, holdout=0.25, holdout_seed=seed) for seed in (0, 0, 1)]
    held = [describes(open_splits(data).test) for data in every]
    assert held[0] == held[1] != held[2]
    assert len(held[0]) == 10


def test_holdout_and_training_rows_are_all_rows(tmp_path, write_files, options):
    splits = open_splits(options(source=classes(tmp_path, write_files, {"a": 9})))
    assert not describes(splits.train) & describes(splits.test)
    assert len(splits.train) + len(splits.test) == 9


def test_no_class_vanishes_from_either_side(tmp_path, write_files, options):
    spec = classes(tmp_path, write_files, {"a": 30, "b": 2, "c": 1})
    for share in (0.01, 0.99):
        splits = open_splits(options(source=spec, holdout=share))
        assert set(splits.train.labels) == {0, 1, 2}
        assert set(splits.test.labels) == {0, 1}
        assert "1 classes of one image" in splits.note


def test_unlabelled_images_are_held_out_too(tmp_path, write_files, options):
    spec = str(write_files(tmp_path / "flat", {f"{row}.png": row for row in range(10)}))
    assert len(open_splits(options(source=spec)).test) == 2


def test_nothing_is_held_out_at_zero(tmp_path, write_files, options):
    spec = classes(tmp_path, write_files, {"a": 3, "b": 3})
    splits = open_splits(options(source=spec, holdout=0))
    assert (len(splits.train), len(splits.test)) == (6, 0)


def test_labels_of_separate_test_data_follow_the_names(tmp_path, write_files, options):
    train = classes(tmp_path, write_files, {"a": 1, "c": 1}, "train-set")
    test = classes(tmp_path, write_files, {"b": 1, "c": 2}, "test-set")
    splits = open_splits(options(source=train, test=test))
    assert splits.train.class_names == splits.test.class_names == ("a", "c", "b")
    assert splits.test.labels.tolist() == [2, 1, 1]


def test_test_data_of_other_classes_is_refused(tmp_path, write_files, options):
    train = classes(tmp_path, write_files, {"a": 1, "c": 1}, "train-set")
    test = classes(tmp_path, write_files, {"x": 1, "y": 2}, "test-set")
    with pytest.raises(DataError, match="no class of"):
        open_splits(options(source=train, test=test))


def test_subset_has_a_fingerprint_of_its_own(options):
    splits = open_splits(options(source="digits"))
    assert splits.train.fingerprint != splits.test.fingerprint
    assert np.array_equal(splits.train.labels, open_splits(options(source="digits")).train.labels)


def test_validation_is_kept_from_the_training_part(tmp_path, write_files, options):
    data = options(source=classes(tmp_path, write_files, {"a": 20, "b": 20}), validation=0.25)
    whole, splits = open_splits(data), open_splits(data).without_validation(data)
    assert len(splits.validation) == 8
    assert not describes(splits.train) & describes(splits.validation)
    assert describes(splits.train) | describes(splits.validation) == describes(whole.train)
    assert describes(splits.test) == describes(whole.test)
