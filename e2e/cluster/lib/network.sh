# shellcheck shell=bash
# The cluster's own network namespace: loopback, one veth pair as the node's interface, the
# bridge that the pods hang on, and no route to anywhere else. Sourced after lib.sh.

make_network() {
	# Built in or loaded on most kernels; where they are not, whatever needs them says so.
	modprobe -qa veth bridge br_netfilter overlay 2>/dev/null || true
	ip netns add "$NETNS"
	ip -n "$NETNS" link set lo up
	# Both ends stay in here: the node needs an address that is not loopback, not a peer.
	ip -n "$NETNS" link add node type veth peer name node-peer
	ip -n "$NETNS" addr add "$NODE_IP/${NODE_NET#*/}" dev node
	ip -n "$NETNS" link set node up
	ip -n "$NETNS" link set node-peer up
	# Never taken, since kube-proxy rewrites the address. But it does so after the look at the
	# routes, and without one a process on the node (the API server, a test) cannot even try.
	ip -n "$NETNS" route add "$SERVICE_NET" dev node
	in_namespace sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

remove_network() {
	[[ -e /run/netns/$NETNS ]] || return 0
	ip netns del "$NETNS"
	# What the CNI plugins remember, keyed by the network's name.
	rm -f "/var/lib/cni/results/$NETNS-"*
}
