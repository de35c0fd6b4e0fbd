#include "CAttentionKernels.h"
