import json

import pytest

from affidavit.wire.openai_usage import usage_of


def read(prompt=None, completion=None, total=None, into=None, out_of=None):
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    counts |= {"prompt_tokens_details": into, "completion_tokens_details": out_of}
    problems = set()
    usage = usage_of(json.dumps(counts).encode(), problems=problems)
    return usage, problems


def buckets(usage):
    names = (
        "input_uncached",
        "cache_read",
        "cache_write_other",
        "audio_in",
        "image",
        "output_text",
        "reasoning",
        "audio_out",
    )
    return tuple(getattr(usage, name) for name in names)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"prompt": 10, "completion": 5, "total": 15}, (10, None, None, None, None, 5, None, None)),
        (
            {"prompt": 100, "completion": 50, "into": {"cached_tokens": 60}, "out_of": {"reasoning_tokens": 30}},
            (40, 60, None, None, None, 20, 30, None),
        ),
        (
            {
                "prompt": 100,
                "completion": 50,
                "into": {
                    "cached_tokens": 10,
                    "cache_write_tokens": 20,
                    "audio_tokens": 5,
                    "image_tokens": 7,
                    "text_tokens": 88,
                },
                "out_of": {"reasoning_tokens": 0, "audio_tokens": 8, "rejected_prediction_tokens": 3},
            },
            (58, 10, 20, 5, 7, 42, 0, 8),
        ),
        # Audio that was cached as well counts as cached.
        ({"prompt": 100, "into": {"cached_tokens": 90, "audio_tokens": 40}}, (0, 90, None, 10, None, None, None, None)),
        # A server that counts reasoning beside the completion shows it in its total.
        (
            {"prompt": 10, "completion": 5, "total": 22, "out_of": {"reasoning_tokens": 7}},
            (10, None, None, None, None, 5, 7, None),
        ),
        ({"into": {"cached_tokens": 3}}, (None, 3, None, None, None, None, None, None)),
        ({}, (None,) * 8),
    ],
)
def test_buckets_are_disjoint(counts, expected):
    usage, problems = read(**counts)
    assert buckets(usage) == expected
    assert problems == set()


@pytest.mark.parametrize(
    "counts",
    [
        {"prompt": 10, "into": {"cached_tokens": 11}},
        {"prompt": 10, "into": {"cached_tokens": 6, "cache_write_tokens": 5}},
        {"prompt": 10, "into": {"audio_tokens": 6, "image_tokens": 5}},
        {"completion": 10, "out_of": {"reasoning_tokens": 11}},
        {"completion": 10, "out_of": {"reasoning_tokens": 6, "audio_tokens": 5}},
    ],
)
def test_parts_larger_than_their_whole_are_told(counts):
    usage, problems = read(**counts)
    assert problems == {"usage_inconsistent"}
    assert sum(bucket or 0 for bucket in buckets(usage)[:5]) == counts.get("prompt", 0)
    assert sum(bucket or 0 for bucket in buckets(usage)[5:]) == counts.get("completion", 0)


@pytest.mark.parametrize("count", [-1, 1.0, 1.5, 2**53, 10**400, "5", True, [], {}])
def test_what_is_no_count_leaves_the_others(count):
    usage, problems = read(prompt=count, completion=5, into={"cached_tokens": 2})
    assert (usage.input_uncached, usage.cache_read, usage.output_text) == (None, 2, 5)
    assert problems == {"number_out_of_range"}


def test_the_largest_count():
    assert read(prompt=2**53 - 1)[0].input_uncached == 2**53 - 1


@pytest.mark.parametrize(
    ("raw", "problems"), [(b"", set()), (b"null", set()), (b"5", {"member_type"}), (b"[]", {"member_type"})]
)
def test_no_usage(raw, problems):
    found = set()
    assert usage_of(raw, problems=found) is None
    assert found == problems


def test_details_of_another_type():
    usage, problems = read(prompt=5, into=7)
    assert (usage.input_uncached, problems) == (5, {"member_type"})
