"""The way to another machine, by what the kernel says."""

import psutil
import pytest

from maritalk_vllm.hardware.network import Route, is_own, route_to


def test_the_way_to_this_machine_itself() -> None:
    assert route_to("127.0.0.1") == Route("127.0.0.1", "lo")
    assert route_to("localhost").interface == "lo"


def test_every_address_here_is_found_with_its_interface() -> None:
    for name, addresses in psutil.net_if_addrs().items():
        for address in (each.address for each in addresses if each.family.name == "AF_INET"):
            assert route_to(address) == Route(address, name)
            assert is_own(address)


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.1.1"])
def test_what_is_no_address_of_this_machine(host: str) -> None:
    assert not is_own(host)


def test_a_name_that_nobody_knows() -> None:
    for ask in (route_to, is_own):
        with pytest.raises(OSError):
            ask("nobody.invalid")
