/* number.h: numbers as text. */
#ifndef RT_NUMBER_H
#define RT_NUMBER_H

enum { NUMBER_ROOM = 40 };

/* The shortest text that reads back as the same double, as Python's repr and json write it: 0.1, 1.0, 1e-07,
 * NaN, -Infinity. */
const char *number_show(double value, char text[NUMBER_ROOM]);

#endif
