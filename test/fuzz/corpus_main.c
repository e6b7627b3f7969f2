/* Runs every file of the folders named on the command line through a fuzz target once, so that the seed corpus is a regression
 * test on machines without libFuzzer. Fails when a folder is missing or empty: a test that runs nothing proves nothing. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity);

/** For targets with a mutator of their own, which is not called here. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t capacity)
{
    (void)data, (void)capacity;
    return size;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    size_t capacity = 1 << 20;
    uint8_t *data = malloc(capacity);
    size_t size = data != NULL ? fread(data, 1, capacity, f) : 0;
    fclose(f);
    if (data == NULL)
        return -1;
    /* An exact-size copy, so that the address sanitizer sees a read past the end. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL) {
        free(data);
        return -1;
    }
    for (size_t i = 0; i < size; i++)
        exact[i] = data[i];
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return -1;
    }
    int files = 0;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (run_file(path) != 0) {
            closedir(dir);
            return -1;
        }
        files++;
    }
    closedir(dir);
    printf("%s: %d inputs\n", folder, files);
    return files > 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    int status = argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;

    for (int i = 1; i < argc; i++) {
        if (run_folder(argv[i]) != 0)
            status = EXIT_FAILURE;
    }
    return status;
}
