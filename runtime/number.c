/* number.c: see number.h. */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *number_show(double value, char text[NUMBER_ROOM])
{
    if (isnan(value)) return strcpy(text, "NaN");
    if (isinf(value)) return strcpy(text, value < 0 ? "-Infinity" : "Infinity");
    int digits = 1;
    do {
        snprintf(text, NUMBER_ROOM, "%.*e", digits - 1, value);
    } while (strtod(text, NULL) != value && ++digits <= 17);
    /* Python writes exponents outside -4 .. 15; %g would switch by the number of digits instead. */
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, NUMBER_ROOM, "%.*g", digits, value);
        return text;
    }
    int places = digits - 1 - exponent;
    snprintf(text, NUMBER_ROOM, "%.*f", places > 1 ? places : 1, value);
    return text;
}
