from hypothesis import given
from hypothesis import strategies as st

from synalign_jax.pipeline.asking.quotas import quotas

_shares = st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=8)


@given(_shares, st.integers(0, 500))
def test_whole_shares_of_the_total_within_one_row_of_the_exact_ones(shares: dict, total: int) -> None:
    result = quotas(shares, total)
    assert sum(result.values()) == total
    for label, share in shares.items():
        assert abs(result[label] - total * share / sum(shares.values())) <= 1


@given(_shares, st.integers(0, 500), st.integers(0, 20), st.data())
def test_floors_and_caps_hold_and_nothing_is_left_over(
    shares: dict, total: int, floor: int, data: st.DataObject
) -> None:
    caps = {label: data.draw(st.integers(0, 200)) for label in shares}
    result = quotas(shares, total, floor=floor, caps=caps)
    assert sum(result.values()) == min(total, sum(caps.values()))
    assert all(0 <= result[label] <= caps[label] for label in shares)
    if sum(min(floor, cap) for cap in caps.values()) <= total:
        assert all(result[label] >= min(floor, caps[label]) for label in shares)


def test_a_rare_label_keeps_its_floor() -> None:
    assert quotas({"common": 990, "rare": 10}, 100, floor=4) == {"common": 96, "rare": 4}


@given(_shares, st.integers(0, 300), st.integers(0, 20), st.data())
def test_rows_go_one_by_one_to_the_label_furthest_below_its_share(
    shares: dict, total: int, floor: int, data: st.DataObject
) -> None:
    caps = {label: data.draw(st.integers(0, 90)) for label in shares}
    low = {label: min(floor, cap) for label, cap in caps.items()}
    given_ = dict(low) if sum(low.values()) <= total else dict.fromkeys(caps, 0)
    names = sorted(shares)
    for _ in range(min(total, sum(caps.values())) - sum(given_.values())):
        below = {
            n: total * shares[n] / sum(shares.values()) - given_[n] for n in names if given_[n] < caps[n]
        }
        given_[max(below, key=lambda name: below[name])] += 1
    assert quotas(shares, total, floor=floor, caps=caps) == given_
