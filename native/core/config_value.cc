#include "core/config_value.h"

#include <cmath>

#include "core/error.h"

namespace ip2p {

template <class T>
const T& ConfigValue::get(const std::string& key, const char* expected) const {
  const T* value = std::get_if<T>(&value_);
  if (!value) throw Error("ERR_CONFIG", "configuration key \"" + key + "\" must be " + expected);
  return *value;
}

const ConfigValue& ConfigValue::at(const std::string& key) const {
  const auto& object = get<Object>(key, "inside an object");
  const auto found = object.find(key);
  if (found == object.end()) throw Error("ERR_CONFIG", "configuration key \"" + key + "\" is missing");
  return found->second;
}

int64_t ConfigValue::as_integer(const std::string& key) const {
  const double value = get<double>(key, "an integer");
  if (!(std::abs(value) <= 9007199254740992.0) || value != std::floor(value))
    throw Error("ERR_CONFIG", "configuration key \"" + key + "\" must be an integer");
  return static_cast<int64_t>(value);
}

int64_t ConfigValue::integer(const std::string& key) const {
  return at(key).as_integer(key);
}
double ConfigValue::number(const std::string& key) const {
  return at(key).get<double>(key, "a number");
}
bool ConfigValue::boolean(const std::string& key) const {
  return at(key).get<bool>(key, "true or false");
}
std::string ConfigValue::string(const std::string& key) const {
  return at(key).get<std::string>(key, "a string");
}
const ConfigValue::Array& ConfigValue::array(const std::string& key) const {
  return at(key).get<Array>(key, "a list");
}

std::vector<int64_t> ConfigValue::integers(const std::string& key) const {
  std::vector<int64_t> result;
  for (const ConfigValue& item : array(key)) result.push_back(item.as_integer(key));
  return result;
}

std::vector<std::vector<int64_t>> ConfigValue::integer_lists(const std::string& key) const {
  std::vector<std::vector<int64_t>> result;
  for (const ConfigValue& list : array(key)) {
    std::vector<int64_t>& integers = result.emplace_back();
    for (const ConfigValue& item : list.get<Array>(key, "a list of lists"))
      integers.push_back(item.as_integer(key));
  }
  return result;
}

std::vector<bool> ConfigValue::booleans(const std::string& key) const {
  std::vector<bool> result;
  for (const ConfigValue& item : array(key)) result.push_back(item.get<bool>(key, "a list of true or false"));
  return result;
}

std::vector<std::string> ConfigValue::strings(const std::string& key) const {
  std::vector<std::string> result;
  for (const ConfigValue& item : array(key))
    result.push_back(item.get<std::string>(key, "a list of strings"));
  return result;
}

}  // namespace ip2p
