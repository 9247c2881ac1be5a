#!/bin/sh
# A network like that of `dataplane up`, in plain `ip` commands, for reading and experiments. Two nodes and an outside
# host on one bridged segment; pods are network namespaces behind a node's bridge. Without `dataplane`, the kernel
# switches on each node and tunnels between the nodes (VXLAN). There are no services.
#
#            dpx-outside  172.18.0.1
#                 │ underlay (bridge)
#        ┌────────┴────────┐
#     dpx-node-n1       dpx-node-n2          eth0 172.18.0.11, .12
#     cni0 10.244.1.1   cni0 10.244.2.1      vxlan between them, VNI 1, port 4789, MTU 1450
#        │                 │
#     dpx-pod-a         dpx-pod-b            eth0 10.244.1.2, 10.244.2.2
#
# Names begin with dpx-, so that a cluster of `dataplane up` can exist at the same time.
set -eu
[ "$(id -u)" = 0 ] || { echo 'network namespaces need root: sudo netns-scripts/make.sh' >&2; exit 1; }
[ ! -e /run/netns/dpx-outside ] || { echo 'the network already exists: remove it with netns-scripts/remove.sh' >&2; exit 1; }
trap 'status=$?; [ $status = 0 ] || sh "$(dirname "$0")/remove.sh"; exit $status' EXIT

# Outside, and the segment that connects all nodes. The bridge itself has the outside's address.
ip netns add dpx-outside
ip -n dpx-outside link set lo up
ip -n dpx-outside link add underlay type bridge
ip -n dpx-outside address add 172.18.0.1/24 dev underlay
ip -n dpx-outside link set underlay up

for i in 1 2; do
  node=dpx-node-n$i
  # A node: a namespace, and a veth pair to the segment.
  ip netns add $node
  ip -n $node link set lo up
  ip -n dpx-outside link add to-n$i type veth peer name eth0 netns $node
  ip -n dpx-outside link set to-n$i master underlay up
  ip -n $node address add 172.18.0.1$i/24 dev eth0
  ip -n $node link set eth0 up
  ip -n $node route add default via 172.18.0.1
  ip netns exec $node sysctl -qw net.ipv4.ip_forward=1

  # Its pods' network: a bridge that is their gateway.
  ip -n $node link add cni0 type bridge
  ip -n $node address add 10.244.$i.1/24 dev cni0
  ip -n $node link set cni0 mtu 1450 up

  # The overlay: packets for the other node's pods go through VXLAN.
  ip -n $node link add flannel.1 type vxlan id 1 dev eth0 local 172.18.0.1$i dstport 4789 nolearning
  ip -n $node link set flannel.1 address 0a:58:0a:f4:0$i:01 mtu 1450 up
done

# The entries that flannel would create: the other node's address, and the MAC of its VXLAN device.
for i in 1 2; do
  other=$((3 - i))
  ip -n dpx-node-n$i neighbour add 10.244.$other.0 lladdr 0a:58:0a:f4:0$other:01 dev flannel.1
  bridge -n dpx-node-n$i fdb append 0a:58:0a:f4:0$other:01 dev flannel.1 dst 172.18.0.1$other
  ip -n dpx-node-n$i route add 10.244.$other.0/24 via 10.244.$other.0 dev flannel.1 onlink
done

# One pod on each node: a namespace with one device, and a route to the gateway.
i=1
for pod in a b; do
  ip netns add dpx-pod-$pod
  ip -n dpx-pod-$pod link set lo up
  ip -n dpx-node-n$i link add to-$pod mtu 1450 type veth peer name eth0 mtu 1450 netns dpx-pod-$pod
  ip -n dpx-node-n$i link set to-$pod master cni0 up
  ip -n dpx-pod-$pod address add 10.244.$i.2/24 dev eth0
  ip -n dpx-pod-$pod link set eth0 up
  ip -n dpx-pod-$pod route add default via 10.244.$i.1
  i=$((i + 1))
done

echo 'The network is ready. Try:
  sudo ip netns exec dpx-pod-a ping -c 1 10.244.2.2
  sudo netns-scripts/show.sh
  sudo netns-scripts/remove.sh'
