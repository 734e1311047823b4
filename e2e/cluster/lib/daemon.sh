# shellcheck shell=bash
# Starts and ends the cluster's processes. Sourced after lib.sh and cgroup.sh.

# daemon NAME ARGUMENT...: runs the program NAME in the cluster's namespace and cgroup, detached
# from this script, and notes its process id.
daemon() {
	local name=$1
	shift
	mkdir -p "$STATE/log" "$STATE/run"
	(
		join_cgroup
		export PATH=$BIN:$PATH
		exec setsid nsenter --net="/run/netns/$NETNS" ${with[@]+"${with[@]}"} "$BIN/$name" "$@"
	) </dev/null >>"$STATE/log/$name.log" 2>&1 9>&- &
	printf '%s' $! >"$STATE/run/$name.pid"
	# Until it has joined the cgroup nobody would know it as ours.
	until is_daemon $!; do
		kill -0 $! 2>/dev/null || return 0
		sleep 0.01
	done
}

# daemon_with_dns NAME ARGUMENT...: the same, for a program that looks up the names of Services.
daemon_with_dns() {
	local with=("$HERE/resolve" "$STATE/resolv.conf")
	daemon "$@"
}

# The id may have been given to somebody else's process since, hence the look at its cgroup.
daemon_pid() {
	local pid
	pid=$(cat "$STATE/run/$1.pid" 2>/dev/null) || return 1
	is_daemon "$pid" || return 1
	printf '%s' "$pid"
}

# stop_daemon NAME: asks it to end, insists after five seconds.
stop_daemon() {
	local pid tries
	pid=$(daemon_pid "$1") || return 0
	kill -TERM "$pid" 2>/dev/null || return 0
	for ((tries = 0; tries < 100; tries++)); do
		is_daemon "$pid" || return 0
		sleep 0.05
	done
	say "$1 did not end in 5 s, killing it"
	kill -KILL "$pid" 2>/dev/null || true
}

# Ends whatever still runs in the cgroup: containers and the shims that outlive containerd.
kill_the_rest() {
	local pids tries
	for ((tries = 0; tries < 100; tries++)); do
		mapfile -t pids < <(cgroup_processes)
		((${#pids[@]} > 0)) || return 0
		kill -KILL "${pids[@]}" 2>/dev/null || true
		sleep 0.05
	done
	say "processes that cannot be killed: ${pids[*]}"
}

# How long a program may take until it answers, in seconds. A disk that is busy with what a build has just
# written holds etcd and containerd up for longer than they take to start.
PATIENCE=180

# wait_until SECONDS DAEMON COMMAND...: repeats COMMAND until it succeeds, and says every ten seconds that it still
# waits. Gives up when the time is over, or the daemon that it asks has ended, and shows the end of its log.
wait_until() {
	local start=$SECONDS patience=$1 daemon=$2 told=10
	shift 2
	until "$@" &>/dev/null; do
		if ! daemon_pid "$daemon" >/dev/null; then
			say "$daemon has ended; the end of $STATE/log/$daemon.log:"
			tail -n 5 "$STATE/log/$daemon.log" >&2
			return 1
		fi
		if ((SECONDS - start >= patience)); then
			say "gave up waiting for $daemon after $patience s; the end of $STATE/log/$daemon.log:"
			tail -n 5 "$STATE/log/$daemon.log" >&2
			return 1
		fi
		if ((SECONDS - start >= told)); then
			say "still waiting for $daemon ($told s)"
			told=$((told + 10))
		fi
		sleep 0.1
	done
}
