# Sourced by the tests. It is not executable, so it is no test itself.
#
# The suite uses the same port, the same database and the same directories in every test, as suites do. Plain sh cannot listen
# on a socket, so a port of this host is a directory that only one can make.
# shellcheck shell=sh

port=${REGATTA_PORT_BASE:-8080}
database=${HOME:?}/demo.db
scratch=${TMPDIR:-/tmp}/regatta-demo
door=

fail() {
	echo "$1" >&2
	exit 1
}

# Takes the port, which is the whole host's, as ports are. A server that was killed has let go of it.
listen() {
	taken=/tmp/regatta-demo-port-$port
	if [ -e "$taken/pid" ] && ! kill -0 "$(cat "$taken/pid")" 2>/dev/null; then rm -rf "$taken"; fi
	mkdir "$taken" 2>/dev/null || fail "port $port: address already in use"
	door=$taken
	echo $$ >"$door/pid"
	echo "listening on port $port"
}

create_database() {
	mkdir "$database" 2>/dev/null || fail "$database: already exists"
	own_database=$database
}

make_scratch() {
	mkdir "$scratch" 2>/dev/null || fail "$scratch: already exists"
	own_scratch=$scratch
}

cleanup() {
	rm -rf ${door:+"$door"} ${own_database:+"$own_database"} ${own_scratch:+"$own_scratch"}
}
trap cleanup EXIT
trap 'exit 143' HUP INT TERM
