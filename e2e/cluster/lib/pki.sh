# shellcheck shell=bash
# One certificate authority per cluster and a client or server certificate per component, with
# the names that Kubernetes' built-in roles are bound to. Sourced after lib.sh and config.sh.

# openssl adds nothing of its own to a certificate if its configuration says nothing.
certificate() {
	local name=$1 subject=$2
	shift 2
	openssl req -x509 -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') \
		-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -sha256 -days 365 \
		-subj "$subject" -keyout "$name.key" -out "$name.crt" "$@" 2>/dev/null
}

authority() {
	certificate ca "/CN=hallpass-e2e-$CLUSTER" \
		-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}

# issue NAME SUBJECT [SUBJECT ALTERNATIVE NAMES]
issue() {
	local more=(-addext "extendedKeyUsage=clientAuth")
	[[ -n ${3:-} ]] && more=(-addext "extendedKeyUsage=serverAuth,clientAuth" -addext "subjectAltName=$3")
	certificate "$1" "$2" -CA ca.crt -CAkey ca.key \
		-addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature "${more[@]}"
}

make_pki() (
	umask 077
	mkdir -p "$STATE/pki"
	cd "$STATE/pki" || exit
	local user
	authority
	issue apiserver /CN=kube-apiserver \
		"IP:127.0.0.1,IP:$NODE_IP,IP:$API_SERVICE_IP,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	issue apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
	issue admin /O=system:masters/CN=admin
	issue kube-controller-manager /CN=system:kube-controller-manager
	issue kube-scheduler /CN=system:kube-scheduler
	issue kube-proxy /CN=system:kube-proxy
	issue kubelet "/O=system:nodes/CN=system:node:$NODE" "IP:$NODE_IP,DNS:$NODE"
	openssl genrsa -out service-accounts.key 2048 2>/dev/null
	for user in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do
		render kubeconfig.yaml "$user" >"$user.conf"
	done
)
