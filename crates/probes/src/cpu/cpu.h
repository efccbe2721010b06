/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the sampler's kernel half tells the other half: stacks. */
#ifndef TEMBLOR_CPU_H
#define TEMBLOR_CPU_H

#include "unwind.h"

#endif
