"""A suspicion is patient at first, and less so with everybody who shares it."""

from hypothesis import given
from hypothesis import strategies as st

from gossip.protocol import Config
from gossip.protocol.membership.suspicion import PATIENCE, Suspicion

SIZES = st.integers(2, 10_000)
NAMES = st.lists(st.binary(min_size=8, max_size=8), max_size=20)


@given(SIZES, NAMES, st.floats(0.0, 1e6))
def test_patience_shrinks_with_every_new_voice_and_stays_within_its_bounds(
    members: int, voices: list[bytes], now: float
) -> None:
    suspicion = Suspicion(now, Config.lan(), members, ours=True)
    longest = suspicion.due - now
    before = suspicion.due
    for voice in voices:
        suspicion.confirm(voice)
        assert suspicion.due <= before
        before = suspicion.due
    assert longest / PATIENCE - 1e-6 <= suspicion.due - now <= longest


@given(SIZES, NAMES)
def test_who_repeats_itself_confirms_nothing(members: int, voices: list[bytes]) -> None:
    once, often = (Suspicion(0.0, Config.lan(), members, ours=True) for _ in range(2))
    for voice in voices:
        once.confirm(voice)
        often.confirm(voice)
        often.confirm(voice)
    assert once.due == often.due


@given(SIZES)
def test_enough_voices_end_patience_at_the_least_and_more_change_nothing(members: int) -> None:
    config = Config.lan()
    suspicion = Suspicion(0.0, config, members, ours=True)
    longest = suspicion.due
    for i in range(config.indirect_probes):
        suspicion.confirm(bytes([i] * 8))
    assert abs(suspicion.due - longest / PATIENCE) < 1e-9
    shortest = suspicion.due
    suspicion.confirm(b"one more")
    assert suspicion.due == shortest


def test_a_larger_cluster_is_more_patient() -> None:
    dues = [Suspicion(0.0, Config.lan(), members, ours=True).due for members in (3, 30, 300, 3000)]
    assert dues == sorted(dues)
    assert dues[0] >= Config.lan().suspicion * PATIENCE


def test_time_in_which_we_could_not_listen_does_not_count() -> None:
    suspicion = Suspicion(5.0, Config.lan(), 10, ours=True)
    due = suspicion.due
    suspicion.postpone(2.5)
    assert suspicion.due == due + 2.5
