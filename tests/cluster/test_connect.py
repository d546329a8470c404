"""An address of a cluster, before Ray is asked to connect there."""

import socket

import pytest

from synalign_jax.cluster.connect import ClusterError, check_address


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_named(scheme: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(ClusterError, match="no cluster is reached at") as heard:
            check_address(address)
        assert address in str(heard.value)
        probe.listen()
        check_address(address)


@pytest.mark.parametrize("address", ["", "auto", "local", "no-port"])
def test_of_other_words_nothing_is_said(address: str) -> None:
    check_address(address)


def test_a_host_that_no_name_server_knows() -> None:
    with pytest.raises(ClusterError, match=r"host\.invalid:6379"):
        check_address("host.invalid:6379")
