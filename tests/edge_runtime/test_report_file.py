"""The text of JSON documents."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from edge_runtime.report_file import json_text


def test_what_json_lacks_is_null_and_keys_keep_their_order():
    facts = {"b": math.nan, "a": [math.inf, -math.inf, np.float64(1.5)], "c": np.float64("nan")}
    text = json_text(facts)
    assert text.endswith("}\n")
    assert list(json.loads(text).items()) == [("b", None), ("a", [None, None, 1.5]), ("c", None)]


def test_what_is_no_plain_value_is_a_defect():
    with pytest.raises((TypeError, NotImplementedError)):
        json_text({"a": np.bool_(True)})
