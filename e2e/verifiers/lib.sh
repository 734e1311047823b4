# shellcheck shell=bash
# What install and run share: where the programs are. Sourced, never run.

VERIFIERS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hallpass-e2e/verifiers

# resolving COMMAND...: begins anew with that command where it runs in the network of a cluster: there the
# names of Services are the cluster's to tell.
resolving() {
	if [[ -n ${HALLPASS_CLUSTER_STATE:-} && -z ${RESOLVES_IN_CLUSTER:-} ]]; then
		export RESOLVES_IN_CLUSTER=1
		exec "$VERIFIERS/../cluster/resolve" "$HALLPASS_CLUSTER_STATE/resolv.conf" "$@"
	fi
}

# installed FAMILY: sets `place`.
installed() {
	place=$(folder "$1")
	[[ -d $place ]] || {
		printf 'the verifiers in e2e/verifiers/%s are not installed: run e2e/verifiers/install\n' "$1" >&2
		exit 1
	}
}

# cargo_build PLACE MANIFEST OPTION...: builds into PLACE/target what has changed there. There are crates that
# look at PATH and at what cargo tells a test, and would be built anew wherever these are others.
cargo_build() {
	(
		unset "${!CARGO_PKG_@}" "${!CARGO_MANIFEST_@}"
		PATH=$(dirname "$(command -v cargo)"):/usr/local/bin:/usr/bin:/bin
		export PATH CARGO_TARGET_DIR=$1/target
		cargo build --locked --quiet --manifest-path "$2" "${@:3}"
	)
}

# folder FAMILY: where its packages are installed. Everything that decides what they are is in the
# name: a change of a lock file, or of a program that is built or copied, makes a new folder.
folder() {
	local sources
	(
		cd "$VERIFIERS/$1" || exit
		LC_ALL=C
		export LC_ALL
		case $1 in
			python | envoy) sources=(requirements.txt) ;;
			node) sources=(package-lock.json ./*.mjs) ;;
			go) sources=(go.mod go.sum internal/*/*.go cmd/*/*.go) ;;
			java) sources=(pom.xml jars.sha256) ;;
			rust) sources=(Cargo.toml Cargo.lock src/main.rs ../lib.sh) ;;
		esac
		printf '%s/%s-%s' "$CACHE" "$1" "$(sha256sum "${sources[@]}" | sha256sum | cut -c1-16)"
	)
}
