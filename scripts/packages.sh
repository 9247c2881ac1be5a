# Required programs, each with its Debian/Ubuntu package. Read by install.sh.
# shellcheck shell=sh disable=SC2034

# PROGRAM:PACKAGE, one per line; the package of a missing program is installed.
demo_programs='
ip:iproute2
curl:curl
nginx:nginx
unshare:util-linux
nsenter:util-linux
setpriv:util-linux
mount:mount
sleep:coreutils
ping:iputils-ping
'

test_programs="$demo_programs
tcpdump:tcpdump
tshark:tshark
python3:python3-minimal
nc:netcat-openbsd
socat:socat
iperf3:iperf3
wrk:wrk
traceroute:traceroute
nft:nftables
conntrack:conntrack
ethtool:ethtool
"
