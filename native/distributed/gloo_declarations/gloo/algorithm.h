#pragma once
// Gloo's headers do not come with libtorch, whose ProcessGroupGloo.hpp includes five of them. It refers to
// their classes by pointers only, so these declarations stand in for them.
