# shellcheck shell=bash
# Fills in the templates of config/. Sourced after lib.sh; works on the cluster of use_cluster.

# render TEMPLATE [USER]: prints the template with every @NAME@ replaced.
render() {
	sed \
		-e "s|@CLUSTER@|$CLUSTER|g" -e "s|@STATE@|$STATE|g" -e "s|@CGROUP@|$CGROUP|g" \
		-e "s|@NODE@|$NODE|g" -e "s|@POD_NET@|$POD_NET|g" -e "s|@DNS_SERVICE_IP@|$DNS_SERVICE_IP|g" \
		-e "s|@API@|$API|g" -e "s|@SNAPSHOTTER@|${SNAPSHOTTER:-}|g" -e "s|@USER@|${2:-}|g" \
		"$HERE/config/$1"
}

# overlayfs cannot lie on another overlayfs, which is what the disk is inside a container.
choose_snapshotter() {
	local try=$STATE/overlay-try
	SNAPSHOTTER=native
	mkdir -p "$try"/{lower,upper,work,merged}
	if mount -t overlay overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
		umount "$try/merged"
		SNAPSHOTTER=overlayfs
	fi
	rm -rf "$try"
	printf '%s' "$SNAPSHOTTER" >"$STATE/snapshotter"
}

write_config() {
	mkdir -p "$STATE/cni"
	render cni.conflist >"$STATE/cni/10-pods.conflist"
	render containerd.toml >"$STATE/containerd.toml"
	render kubelet.yaml >"$STATE/kubelet.yaml"
	render kube-proxy.yaml >"$STATE/kube-proxy.yaml"
	render audit-policy.yaml >"$STATE/audit-policy.yaml"
	render authentication.yaml >"$STATE/authentication.yaml"
	render resolv.conf >"$STATE/resolv.conf"
}
