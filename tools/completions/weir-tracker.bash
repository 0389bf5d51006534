# bash completion for weir-tracker. Options are asked of the program itself, so
# that this never falls behind.
_weir_tracker()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local program=${COMP_WORDS[0]} words

	COMPREPLY=()
	case $prev in
	--state | --dfile | --allow | --deny | --cert | --key | --realm-key | \
		--new-realm-key)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return
		;;
	esac
	# What takes another value is followed by it.
	if "$program" --help 2>/dev/null | grep -qE -- "^ +$prev [A-Z]"; then
		return
	fi
	words=$("$program" --help 2>/dev/null |
		grep -oE -- '^ +(-[A-Za-z], )?--[a-z][a-z0-9-]*' |
		grep -oE -- '--[a-z][a-z0-9-]*')
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -F _weir_tracker weir-tracker
