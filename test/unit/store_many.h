#ifndef STORE_MANY_H
#define STORE_MANY_H

/* So many routes that the store takes a while. Include behind store_fixture.h. */

static inline void put_many(struct fixture *f, struct store *store, unsigned count, const char *backend)
{
    char name[64];

    expect_rc(f, store_begin(store, &f->why), 0);
    for (unsigned i = 0; i < count; i++) {
        struct store_route route = {.listener = ":443", .hostname = name, .backend = backend};
        enum store_put put;
        snprintf(name, sizeof name, "h%u.example.com", i);
        expect_rc(f, store_put_route(store, &route, &put, &f->why), 0);
    }
}

static inline int count_one(const struct store_route *route, void *count)
{
    (void)route;
    ++*(unsigned *)count;
    return 0;
}

static inline unsigned count_routes(struct fixture *f, struct store *store)
{
    unsigned count = 0;

    expect_rc(f, store_each_route(store, count_one, &count, &f->why), 0);
    return count;
}

#endif
