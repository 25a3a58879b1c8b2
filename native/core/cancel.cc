#include "core/cancel.h"

#include "core/error.h"

namespace ip2p {
namespace {

thread_local const CancelFlag* request_flag = nullptr;
thread_local const CancelFlag* environment_flag = nullptr;

}  // namespace

CancelScope::CancelScope(const CancelFlag* request, const CancelFlag* environment) {
  request_flag = request;
  environment_flag = environment;
}

CancelScope::~CancelScope() {
  request_flag = nullptr;
  environment_flag = nullptr;
}

void check_cancelled() {
  if ((request_flag && request_flag->cancelled()) || (environment_flag && environment_flag->cancelled()))
    throw Error("ERR_ABORTED", "the operation was aborted");
}

}  // namespace ip2p
