# shellcheck shell=bash
# The programs of the control plane and of the node, as `up` starts them and `restore` again. Sourced
# after lib.sh and daemon.sh.

start_etcd() {
	# Nothing here outlives a power cut, so nothing has to reach the disk.
	daemon etcd --name="$CLUSTER" --data-dir="$STATE/etcd" --unsafe-no-fsync \
		--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
		--listen-peer-urls=http://127.0.0.1:2380
}

start_apiserver() {
	local pki=$STATE/pki
	daemon_with_dns kube-apiserver \
		--etcd-servers=http://127.0.0.1:2379 \
		--advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICE_NET" \
		--client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
		--kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
		--kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
		--kubelet-client-key="$pki/apiserver-kubelet-client.key" \
		--service-account-issuer=https://kubernetes.default.svc \
		--service-account-key-file="$pki/service-accounts.key" \
		--service-account-signing-key-file="$pki/service-accounts.key" \
		--authentication-config="$STATE/authentication.yaml" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
		--audit-policy-file="$STATE/audit-policy.yaml" --audit-log-path="$STATE/audit.log" --audit-log-maxsize=1000
}

start_containerd() { daemon containerd --config "$STATE/containerd.toml"; }

start_controllers() {
	start_controller_manager
	start_scheduler
}

start_controller_manager() {
	daemon kube-controller-manager --kubeconfig="$STATE/pki/kube-controller-manager.conf" \
		--root-ca-file="$STATE/pki/ca.crt" --service-account-private-key-file="$STATE/pki/service-accounts.key" \
		--use-service-account-credentials --leader-elect=false --flex-volume-plugin-dir="$STATE/volume-plugins" \
		--kube-api-qps=200 --kube-api-burst=400
}

start_scheduler() {
	daemon kube-scheduler --kubeconfig="$STATE/pki/kube-scheduler.conf" --leader-elect=false
}

start_node() {
	start_kubelet
	start_kube_proxy
}

start_kubelet() {
	daemon kubelet --config="$STATE/kubelet.yaml" --kubeconfig="$STATE/pki/kubelet.conf" \
		--root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" --hostname-override="$NODE" --node-ip="$NODE_IP"
}

start_kube_proxy() { daemon kube-proxy --config="$STATE/kube-proxy.yaml"; }

# start_one NAME: the one of these programs.
start_one() {
	case $1 in
		etcd) start_etcd ;;
		kube-apiserver) start_apiserver ;;
		containerd) start_containerd ;;
		kube-controller-manager) start_controller_manager ;;
		kube-scheduler) start_scheduler ;;
		kubelet) start_kubelet ;;
		kube-proxy) start_kube_proxy ;;
		*) die "no program of the cluster: $1" ;;
	esac
}

api_answers() {
	in_namespace curl -sf --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" "$API/readyz"
}
