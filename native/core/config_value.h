#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace ip2p {

/// One value of a model's configuration, as config.json holds it. lib/models/ fills in defaults and refuses
/// unsupported values; the accessors here throw ERR_CONFIG with the key's name for a value of the wrong type.
class ConfigValue {
 public:
  using Array = std::vector<ConfigValue>;
  using Object = std::map<std::string, ConfigValue>;

  ConfigValue() = default;
  explicit ConfigValue(bool value) : value_(value) {}
  explicit ConfigValue(double value) : value_(value) {}
  explicit ConfigValue(std::string value) : value_(std::move(value)) {}
  explicit ConfigValue(Array value) : value_(std::move(value)) {}
  explicit ConfigValue(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

  // Members of an object.
  const ConfigValue& at(const std::string& key) const;
  int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  bool boolean(const std::string& key) const;
  std::string string(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<std::vector<int64_t>> integer_lists(const std::string& key) const;
  std::vector<bool> booleans(const std::string& key) const;
  std::vector<std::string> strings(const std::string& key) const;
  const Array& array(const std::string& key) const;
  /// The fallback for null.
  int64_t integer_or(const std::string& key, int64_t fallback) const {
    return null(key) ? fallback : integer(key);
  }
  std::string string_or(const std::string& key, const std::string& fallback) const {
    return null(key) ? fallback : string(key);
  }
  bool null(const std::string& key) const { return at(key).is_null(); }

  // This value itself; `key` only words the error.
  int64_t as_integer(const std::string& key) const;
  const Array* as_array() const { return std::get_if<Array>(&value_); }

 private:
  template <class T>
  const T& get(const std::string& key, const char* expected) const;

  std::variant<std::monostate, bool, double, std::string, Array, Object> value_;
};

}  // namespace ip2p
