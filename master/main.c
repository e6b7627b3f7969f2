/* Placeholder until the command line is in place. */

#include "handover.h"

int main(void)
{
    return 1;
}
