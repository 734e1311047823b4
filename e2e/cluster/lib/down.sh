# shellcheck shell=bash
# Taking a cluster down, whatever state it is in. Sourced after the other libraries.

# Lets the kubelet end the pods as it should: it unmounts their volumes and the shims leave.
# The controllers go first, or they would replace the pods. Bounded: the rest is forced.
end_pods() {
	stop_daemon kube-controller-manager
	stop_daemon kube-scheduler
	timeout 5 nsenter --net="/run/netns/$NETNS" "$BIN/kubectl" --kubeconfig="$KUBECONFIG_ADMIN" \
		delete pods --all --all-namespaces --grace-period=1 --wait=false &>/dev/null || return 0
	wait_until 10 kubelet no_containers || true
}

no_containers() { [[ -z $(images task list --quiet) ]]; }

# Deepest first. /proc/self/mounts writes a space as \040, and no path of ours has one.
unmount_all() {
	local target
	while read -r target; do
		umount "$target" 2>/dev/null || umount --lazy "$target" || true
	done < <(awk -v below="$STATE/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r)
}

something_is_left() { [[ -d $STATE || -e /run/netns/$NETNS || -n $(cgroup_processes) ]]; }

take_down() {
	local name
	if daemon_pid kube-apiserver >/dev/null && daemon_pid kubelet >/dev/null && daemon_pid containerd >/dev/null; then
		end_pods
		step "pods have ended"
	fi
	for name in kube-controller-manager kube-scheduler kubelet kube-proxy containerd kube-apiserver etcd; do
		stop_daemon "$name"
	done
	kill_the_rest
	step "processes have ended"
	unmount_all
	remove_network
	remove_cgroup
	# Links to logs that the kubelet keeps at a fixed place, whatever it is told.
	find /var/log/containers -lname "$STATE/*" -delete 2>/dev/null || true
	# Should something still be mounted, better to stop there than to empty it.
	rm -rf --one-file-system "$STATE"
	rmdir --ignore-fail-on-non-empty "$STATE_ROOT" 2>/dev/null || true
}
