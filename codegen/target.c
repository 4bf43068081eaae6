/* target.c: the row of targets.def that fits a processor. */
#include "codegen/cg.h"

#include <string.h>

static const cg_target targets[] = {
#define TARGET(name, arch, feature, bits, registers, mr, nr, fma, f16, math, bf16, pairs, blocks, l1, l2)                         \
    {#name, arch, feature, bits, registers, mr, nr, fma, f16, math, bf16, pairs, blocks, (l1)*INT64_C(1024), (l2)*INT64_C(1024)},
#include "codegen/targets.def"
};

/* True when the comma-separated list holds +feature. */
static bool has_feature(const char *list, const char *feature)
{
    size_t length = strlen(feature);
    for (const char *at = list; at && *at; at = strchr(at, ',')) {
        at += *at == ',';
        if (*at == '+' && strncmp(at + 1, feature, length) == 0 &&
            (at[1 + length] == ',' || !at[1 + length])) {
            return true;
        }
    }
    return false;
}

const cg_target *cg_target_find(const char *triple, const char *features)
{
    for (size_t i = 0; i < countof(targets); i++) {
        const cg_target *t = &targets[i];
        bool arch = strncmp(triple, t->arch, strlen(t->arch)) == 0;
        if (arch && (!*t->feature || has_feature(features, t->feature))) return t;
    }
    bug("no target row for %s", triple);
}

bool cg_tiles_find(const ir_node *n, cg_tiles *out)
{
    int count = 0;
    const int64_t *item = n ? ir_attr_ints(n, ATTR_tiles, &count) : NULL;
    if (!item || count != 5) return false;
    *out = (cg_tiles){item[0], item[1], item[2], item[3], item[4]};
    return true;
}
