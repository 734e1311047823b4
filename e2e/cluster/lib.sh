# shellcheck shell=bash
# What every verb in this folder shares: names, paths and how it speaks. Sourced, never run.
# Progress goes to stderr, results (paths) to stdout.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hallpass-e2e
# containerd keeps container file systems in here, so it has to be on a disk, not in /run.
export STATE_ROOT=${HALLPASS_E2E_STATE:-/var/lib/hallpass-e2e}

# 198.18.0.0/15 is set aside for benchmarks and never routed. Each cluster has its own network
# namespace, so that all of them use the same addresses and ports.
export NODE_IP=198.18.0.1
export NODE_NET=198.18.0.0/24
export POD_NET=198.18.128.0/17
export SERVICE_NET=198.19.0.0/16
export API_SERVICE_IP=198.19.0.1
export DNS_SERVICE_IP=198.19.0.10
export NODE=node0
export API=https://127.0.0.1:6443

say() { printf '%s\n' "$*" >&2; }

die() {
	say "error: $*"
	exit 1
}

# "[  4.2 s] text", counted from the start of the script.
step() {
	local now=${EPOCHREALTIME/[.,]/}
	local tenths=$(((now - STARTED_AT) / 100000))
	printf '[%3d.%d s] %s\n' $((tenths / 10)) $((tenths % 10)) "$*" >&2
}
STARTED_AT=${EPOCHREALTIME/[.,]/}

need_root() { [[ $EUID -eq 0 ]] || die "needs root: namespaces, mounts and cgroups"; }

# Points the rest of the script at one cluster. The name ends up in paths of sockets, which the
# kernel cuts at 108 bytes, and in a cgroup: hence short and plain.
use_cluster() {
	CLUSTER=$1
	[[ $CLUSTER =~ ^[a-z][a-z0-9-]{0,19}$ ]] || die "cluster name '$CLUSTER': want a-z, 0-9 and -, at most 20"
	STATE=$STATE_ROOT/$CLUSTER
	NETNS=hallpass-$CLUSTER
	CGROUP=hallpass-$CLUSTER
	KUBECONFIG_ADMIN=$STATE/pki/admin.conf
	CONTAINERD_SOCKET=$STATE/containerd.sock
	export CLUSTER STATE NETNS CGROUP KUBECONFIG_ADMIN CONTAINERD_SOCKET
}

default_cluster() { printf '%s' "${HALLPASS_CLUSTER:-demo}"; }

# With HALLPASS_E2E_KUBECONFIG the caller brings the cluster: nothing here may touch it.
# True, with a line that says so, if that is the case.
given_cluster() {
	[[ -n ${HALLPASS_E2E_KUBECONFIG:-} ]] || return 1
	say "$1: using the cluster of HALLPASS_E2E_KUBECONFIG=$HALLPASS_E2E_KUBECONFIG, nothing to do"
}

# One up or down at a time per cluster. /run survives neither boot nor matters after it.
# Descriptor 9 must be closed for every daemon, or the lock would live as long as the cluster.
lock_cluster() {
	mkdir -p /run/lock
	exec 9>"/run/lock/hallpass-e2e-$CLUSTER.lock"
	flock 9
}

# The folder of modules/ that says which Kubernetes: the newest, unless HALLPASS_KUBERNETES names an older one.
kubernetes_module() {
	local module=kubernetes${HALLPASS_KUBERNETES:+-$HALLPASS_KUBERNETES}
	[[ -d $HERE/modules/$module ]] || die "HALLPASS_KUBERNETES=$HALLPASS_KUBERNETES: there is no modules/$module"
	printf '%s' "$module"
}

# Everything that decides what the programs are: module files and the recipe that builds them.
tools_hash() {
	local module
	module=$(kubernetes_module)
	(
		cd "$HERE" || exit
		LC_ALL=C
		export LC_ALL
		sha256sum tools modules/{"$module",node,helm3,helm,coredns}/go.{mod,sum} | sha256sum | cut -c1-16
	)
}

tools_bin() { printf '%s/%s/bin' "$CACHE" "$(tools_hash)"; }

in_namespace() { nsenter --net="/run/netns/$NETNS" "$@"; }

kube() { in_namespace "$BIN/kubectl" --kubeconfig="$KUBECONFIG_ADMIN" "$@"; }

# Hosts with cgroup v1 would get a warning with each call.
images() { CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 "$BIN/ctr" --address "$CONTAINERD_SOCKET" --namespace k8s.io "$@"; }
