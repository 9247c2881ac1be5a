"""
Many datagrams of one size whose bytes are checked, by one call each or as UDP super-packets (UDP_SEGMENT, linux udp(7)).

  udp-bulk.py serve PORT
  udp-bulk.py send IP PORT SIZE COUNT BATCH

`send` hands BATCH datagrams to the kernel at once (1: one by one) and then asks the server what arrived; it prints
`ARRIVED SPOILED` of COUNT. Datagram k starts with k and goes on with bytes that follow from k.
"""
import socket
import struct
import sys
import time

SOL_UDP, UDP_SEGMENT, SO_RCVBUFFORCE = 17, 103, 33


def datagram(number, size):
    return struct.pack('!I', number) + bytes((number + i) & 0xff for i in range(16)) * (size // 16 + 1)


def serve(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.bind(('0.0.0.0', port))
    arrived = spoiled = 0
    while True:
        data, peer = sock.recvfrom(65535)
        if data == b'begin':
            arrived = spoiled = 0
            sock.sendto(b'ready', peer)
        elif data == b'end':
            sock.sendto(b'%d %d' % (arrived, spoiled), peer)
        else:
            arrived += 1
            number = struct.unpack('!I', data[:4])[0] if len(data) >= 4 else 0
            spoiled += data != datagram(number, len(data))[:len(data)]


def ask(sock, question):
    for _ in range(20):
        sock.send(question)
        try:
            return sock.recv(100).decode()
        except (socket.timeout, ConnectionRefusedError):
            time.sleep(0.05)
    sys.exit('the server does not answer')


def send(ip, port, size, count, batch):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(0.3)
    sock.connect((ip, port))
    ask(sock, b'begin')
    if batch > 1:
        sock.setsockopt(SOL_UDP, UDP_SEGMENT, size)
    for first in range(0, count, batch):
        last = min(first + batch, count)
        sock.send(b''.join(datagram(k, size)[:size] for k in range(first, last)))
        # Slower than a link: what is lost then was not lost by a full queue.
        time.sleep(0.0005 * max(1, batch / 8))
    sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
    print(ask(sock, b'end'))


if sys.argv[1] == 'serve':
    serve(int(sys.argv[2]))
else:
    send(sys.argv[2], *map(int, sys.argv[3:7]))
