# shellcheck shell=sh
# Prints for each control group whose name has one of the arguments in it (an empty one: the container's own)
# the CPU time so far in microseconds and the working set in bytes. cgroup v2, else v1.
group() { find "$1" -type d -name "*$2*" -print -quit; }
field() { sed -n "s/^$1 //p" "$2"; }

for name; do
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    directory=$(group /sys/fs/cgroup/ "$name")
    cpu=$(field usage_usec "$directory/cpu.stat")
    used=$(cat "$directory/memory.current")
    idle=$(field inactive_file "$directory/memory.stat")
  else
    cpu=$(($(cat "$(group /sys/fs/cgroup/cpuacct/ "$name")/cpuacct.usage") / 1000))
    directory=$(group /sys/fs/cgroup/memory/ "$name")
    used=$(cat "$directory/memory.usage_in_bytes")
    idle=$(field total_inactive_file "$directory/memory.stat")
  fi
  echo "$cpu $((used - idle))"
done
