# shellcheck shell=bash
# One cgroup per cluster, in every hierarchy: pods run below it, and the daemons are in a leaf
# of it. Membership is inherited, so it says for sure which process belongs to which cluster.
# Sourced after lib.sh.

# The mount points of the hierarchies: one for version 2, one per controller for version 1.
# Some hosts mount both, and then the controllers are those of version 1.
hierarchies() {
	local v1
	v1=$(awk '$3 == "cgroup" { print $2 }' /proc/self/mounts)
	if [[ -n $v1 ]]; then
		printf '%s\n' "$v1"
	else
		awk '$3 == "cgroup2" { print $2 }' /proc/self/mounts
	fi
}

make_cgroup() {
	local root part
	while read -r root; do
		if [[ -e $root/cgroup.subtree_control ]]; then
			sed 's/[^ ]*/+&/g' "$root/cgroup.controllers" >"$root/cgroup.subtree_control"
		fi
		for part in "$root/$CGROUP" "$root/$CGROUP/daemons"; do
			mkdir -p "$part"
			# A new cpuset is empty, and nothing may run in it.
			if [[ -e $part/cpuset.mems && -w $part/cpuset.cpus && -e $root/cpuset.sched_load_balance ]]; then
				cat "$root/cpuset.cpus" >"$part/cpuset.cpus"
				cat "$root/cpuset.mems" >"$part/cpuset.mems"
			fi
		done
	done < <(hierarchies)
}

# The hierarchy by which we tell our processes: it has no limits, so joining it changes nothing.
marking_hierarchy() {
	local root
	while read -r root; do
		case $root in
			*/pids | */unified | /sys/fs/cgroup) break ;;
		esac
	done < <(hierarchies)
	printf '%s' "$root"
}

join_cgroup() { printf '%s' "$BASHPID" >"$(marking_hierarchy)/$CGROUP/daemons/cgroup.procs"; }

# Whether a process is one of this cluster's daemons.
is_daemon() { grep -qs ":/$CGROUP/daemons\$" "/proc/$1/cgroup"; }

# Every process of the cluster, daemons and pods.
cgroup_processes() {
	local top
	top=$(marking_hierarchy)/$CGROUP
	[[ -d $top ]] || return 0
	find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

# Looks at version 2 even where version 1 is in use: runc makes its folders in both.
remove_cgroup() {
	local root
	while read -r root; do
		[[ -d $root/$CGROUP ]] || continue
		find "$root/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done < <(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/self/mounts)
}
