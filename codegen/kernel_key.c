/* kernel_key.c: the canonical text of a kernel. Equal texts mean equal machine code, so buffers, layers and
 * value numbers of the model's graph must not occur in it. */
#include "codegen/cg.h"

static void add_attr(text *t, const ir_attr *attr)
{
    text_add(t, " %s=", ir_attr_name_text(attr->name));
    switch (ir_attr_kind_of(attr->name)) {
    case ATTR_INT:
        text_add(t, "%lld", (long long)attr->i);
        return;
    case ATTR_FLOAT:
        text_add(t, "%a", attr->f);
        return;
    case ATTR_TEXT:
        text_add(t, "%s", attr->text);
        return;
    case ATTR_INTS:
        for (int i = 0; i < attr->ints.count; i++) text_add(t, "%lld,", (long long)attr->ints.item[i]);
        return;
    case ATTR_DATA:
        for (size_t i = 0; i < attr->data.size; i++)
            text_add(t, "%02x", ((const unsigned char *)attr->data.bytes)[i]);
        return;
    case ATTR_GRAPH:
        bug("a body inside a kernel");
    }
}

const char *cg_body_key(arena *a, const cg_body *b)
{
    text t = {0};
    text_add(&t, "%s main=%d columns=%d", ir_kernel_kind_name(b->kind), (int)b->main, b->columns);
    for (int r = 0; r < b->root_count; r++) text_add(&t, " root=%d", (int)b->root[r]);
    for (int i = 0; i < b->arg_count; i++) text_add(&t, "%c", b->arg_shared[i] ? '!' : '.');
    text_add(&t, "\n");
    for (size_t v = 0; v < b->graph->count; v++) {
        const ir_node *n = &b->graph->node[v];
        text_add(&t, "%s", ir_op_name(n->op));
        for (int i = 0; i < n->in_count; i++) text_add(&t, " %d", (int)n->in[i]);
        for (int i = 0; i < n->attr_count; i++) add_attr(&t, &n->attr[i]);
        text_add(&t, " : ");
        ir_type_print(&n->type, &t);
        text_add(&t, "\n");
    }
    char *key = arena_strndup(a, text_get(&t), t.length);
    text_done(&t);
    return key;
}
