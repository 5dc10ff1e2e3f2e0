/* SPDX-License-Identifier: BSD-3-Clause */
/* What is printed on standard output: text, or JSON in one line. Main thread. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench_run.h"

struct bench_comparison {
	struct bench_result a, b; /* of each the run with the median of the IOPS */
	double ratio;             /* of these, a to b */
	double ratio_min;         /* of the rounds */
	double ratio_max;
	unsigned int rounds;
};

void bench_report_text(const struct bench_result *result);
void bench_report_json(const struct bench_result *result);
void bench_report_comparison_text(const struct bench_comparison *comparison);
void bench_report_comparison_json(const struct bench_comparison *comparison);

#endif
