"""What OpenSSL can do and Python has no call for."""

import _ssl
import ctypes
import ssl


def change_keys(connection: ssl.SSLObject | ssl.SSLSocket, times: int, *, both: bool) -> None:
    """Write so many changes of keys; `both`: and ask the peer for the same."""
    openssl = ctypes.CDLL(_ssl.__file__)
    # `PySSLSocket` is the head of an object, a reference to the socket, then `SSL *`.
    place = id(vars(connection)["_sslobj"]) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    pointer = ctypes.c_void_p.from_address(place)
    for _ in range(times):
        assert openssl.SSL_key_update(pointer, int(both)) == 1
        assert openssl.SSL_do_handshake(pointer) == 1
