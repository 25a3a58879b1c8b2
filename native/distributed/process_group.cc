#include "distributed/process_group.h"

namespace ip2p {

void ProcessGroup::broadcast_all(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> dense;
  std::vector<std::unique_ptr<Collective>> pending;
  for (const at::Tensor& tensor : tensors) {
    dense.push_back(tensor.detach().contiguous());
    pending.push_back(broadcast(dense.back(), 0));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    pending[i]->wait();
    if (!dense[i].is_alias_of(tensors[i])) tensors[i].detach().copy_(dense[i]);
  }
}

}  // namespace ip2p
