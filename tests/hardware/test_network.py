"""Routes to other machines, as the kernel reports them."""

import psutil
import pytest

from maritalk_vllm.hardware.network import Route, is_own, route_to


def test_route_to_this_machine() -> None:
    assert route_to("127.0.0.1") == Route("127.0.0.1", "lo")
    assert route_to("localhost").interface == "lo"


def test_every_local_address_is_found_with_its_interface() -> None:
    for name, addresses in psutil.net_if_addrs().items():
        for address in (each.address for each in addresses if each.family.name == "AF_INET"):
            assert route_to(address) == Route(address, name)
            assert is_own(address)


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.1.1"])
def test_foreign_addresses(host: str) -> None:
    assert not is_own(host)


def test_unknown_name() -> None:
    for look_up in (route_to, is_own):
        with pytest.raises(OSError):
            look_up("nobody.invalid")
