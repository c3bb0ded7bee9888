"""Asks each query over a TCP connection of its own, eight at a time, and prints what dnsperf would: dnsperf itself makes
50 such connections a second (`num-queries-per-conn=1`, version 2.10).

    tcp_each.py ADDRESS PORT QUERIES SECONDS
"""

import collections
import socket
import struct
import sys
import time

# More would overflow the queue of new connections that BIND and Knot DNS have (10), and wait a second for the next SYN.
AT_ONCE = 8
WAIT_S = 2
TYPES = {"A": 1, "NS": 2, "SOA": 6, "AAAA": 28}
CODES = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def framed(line: str) -> bytes:
    name, rtype = line.split()
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    message = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + wire + struct.pack("!2H", TYPES[rtype], 1)
    return struct.pack("!H", len(message)) + message


def response(connection) -> bytes:
    """The message of one response; empty where the server is silent or hangs up."""
    try:
        got = connection.recv(4096)
        while len(got) < 2 or len(got) < 2 + int.from_bytes(got[:2], "big"):
            more = connection.recv(4096)
            if not more:
                return b""
            got += more
    except OSError:
        return b""
    return got[2:]


def main():
    address, port, file, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    with open(file) as lines:
        queries = [framed(line) for line in lines]
    sent = octets = 0
    codes = collections.Counter()
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        connections = []
        for _ in range(AT_ONCE):
            connection = socket.create_connection((address, port), WAIT_S)
            connection.send(queries[sent % len(queries)])
            connections.append(connection)
            sent += 1
        for connection in connections:
            got = response(connection)
            connection.close()
            if len(got) >= 12:
                codes[got[3] & 15] += 1
                octets += len(got)
    took, completed = time.monotonic() - began, sum(codes.values())
    shares = ", ".join(f"{CODES.get(code, code)} {count} ({100 * count / completed:.2f}%)" for code, count in codes.items())
    print(f"  Queries sent:         {sent}\n  Queries completed:    {completed}\n  Response codes:       {shares}\n"
          f"  Average packet size:  response {octets / max(completed, 1):.0f}\n  Queries per second:   {completed / took:.6f}")


main()
