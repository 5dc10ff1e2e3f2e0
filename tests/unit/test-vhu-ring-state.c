/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/vhu/ring_state.c: every event in every state, and what must hold of the table as a whole.
 */
#include "lib/vhu/ring_state.h"

#include "tests/tap.h"

/* Two ways to write one table down: here by events, with states as letters. */
static const char *const letters = "SFUWHsnRudm";

static char letter(enum ring_state state)
{
	return letters[state];
}

/*
 * For each event the state that follows on each of "SFUWHsnRudm", and what is done for it: '.'
 * nothing, '>' only the state changes, other letters see actions[].
 */
static const char *const actions = ".>SDAUC+-tTR";
static const struct {
	enum ring_event event;
	const char *next, *action;
} rows[] = {
	{RING_WANTED, "sFUWHsnRudm", "S.........."},
	{RING_DRAIN, "SFUSHsndudm", "...C...D..."},
	{RING_DRAIN_LEFT, "SFUHHsnRudm", "...+......."},
	{RING_ABANDON, "SFUSHsndudm", "...C...A..."},
	{RING_CHANGED, "SSUWHsnRudm", ".>........."},
	{RING_PLACED, "SSSWHsnRudm", ".>>........"},
	{RING_UNMAP, "SFUUHUnmudm", "...C.>.D..."},
	{RING_REMAP, "SFSSHsnuudm", "..>C...U..."},
	{RING_UPDATE, "SFUWHsnuudm", ".......U..."},
	{RING_PUT_OFF, "SFUWHWnRudm", ".....-....."},
	{RING_READY, "SFUsnsnRudm", "...+>......"},
	{RING_LET_GO, "SFUWWsnRudm", "....-......"},
	{RING_UNABLE, "SFUWHFnRudm", ".....t....."},
	{RING_DONE, "SFUWHRdRRSU", ".....>D.>RR"},
	{RING_ERROR, "SFUWHFFRRSU", ".....TT.>RR"},
};

static void each_event_in_each_state(void)
{
	CHECK_EQ(sizeof(rows) / sizeof(*rows), RING_EVENTS);
	for (unsigned i = 0; i < RING_EVENTS; i++) {
		CHECK_EQ(rows[i].event, i);
		for (unsigned state = 0; state < RING_STATES; state++) {
			const struct ring_step step = ring_step(state, i);

			CHECK_EQ(letter(step.next), rows[i].next[state]);
			CHECK_EQ(actions[step.action], rows[i].action[state]);
		}
	}
}

static void what_is_ignored_changes_nothing(void)
{
	for (unsigned state = 0; state < RING_STATES; state++)
		for (unsigned event = 0; event < RING_EVENTS; event++) {
			const struct ring_step step = ring_step(state, event);

			CHECK(step.action != RING_IGNORE || step.next == state);
			CHECK(step.action == RING_IGNORE || step.next != state);
		}
}

/* Is an answer of the user's awaited? */
static bool is_asked(enum ring_state state)
{
	return ring_step(state, RING_DONE).action != RING_IGNORE;
}

static bool asks(enum ring_action action)
{
	return action == RING_ASK_START || action == RING_ASK_DRAIN || action == RING_ASK_ABANDON ||
	       action == RING_ASK_UPDATE;
}

/* Who is asked once answers once, with either answer; he is not asked again meanwhile. */
static void each_question_has_one_answer(void)
{
	for (unsigned state = 0; state < RING_STATES; state++) {
		CHECK_EQ(is_asked(state), ring_step(state, RING_ERROR).action != RING_IGNORE);
		for (unsigned event = 0; event < RING_EVENTS; event++) {
			const struct ring_step step = ring_step(state, event);
			const bool answers = event == RING_DONE || event == RING_ERROR;

			if (asks(step.action))
				CHECK(is_asked(step.next) && (answers || !is_asked(state)));
			else if (answers)
				CHECK(!is_asked(step.next));
		}
	}
}

/*
 * What is counted as pending: a question, and a stop that waits with its ring. An answer counts one
 * less by itself, and a start that was put off is no question.
 */
static int counts(enum ring_state state)
{
	return is_asked(state) || state == RING_HELD;
}

static int change(enum ring_state state, enum ring_event event)
{
	const struct ring_step step = ring_step(state, event);
	const int answered = is_asked(state) && (event == RING_DONE || event == RING_ERROR);

	/* A start that could not be asked for was not counted. */
	if (step.action == RING_TELL || (state == RING_STARTING && event == RING_UNMAP))
		return -1;
	return asks(step.action) + (step.action == RING_HOLD) - (step.action == RING_UNHOLD) -
	       answered;
}

static void what_is_pending_is_counted(void)
{
	for (unsigned state = 0; state < RING_STATES; state++)
		for (unsigned event = 0; event < RING_EVENTS; event++)
			CHECK_EQ(counts(ring_step(state, event).next),
				 counts(state) + change(state, event));
}

/* From anywhere a session can end: let go, answer, abandon, answer. */
static void each_state_comes_to_rest(void)
{
	static const enum ring_event end[] = {RING_LET_GO, RING_DONE, RING_DONE, RING_ABANDON,
					      RING_DONE};

	for (unsigned state = 0; state < RING_STATES; state++) {
		enum ring_state at = state;

		for (unsigned i = 0; i < sizeof(end) / sizeof(*end); i++)
			at = ring_step(at, end[i]).next;
		CHECK(ring_is_stopped(at));
	}
}

static const struct tap_case cases[] = {
	{"each_event_in_each_state", each_event_in_each_state},
	{"what_is_ignored_changes_nothing", what_is_ignored_changes_nothing},
	{"each_question_has_one_answer", each_question_has_one_answer},
	{"what_is_pending_is_counted", what_is_pending_is_counted},
	{"each_state_comes_to_rest", each_state_comes_to_rest},
	{0},
};

static const struct tap_suite suites[] = {{.name = "ring state", .cases = cases}, {0}};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
