{
  "targets": [
    {
      "target_name": "ip2p",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["CMakeLists.txt"],
          "outputs": ["build/Release/ip2p.node"],
          "action": ["node", "scripts/setup.mjs", "--native"]
        }
      ]
    }
  ]
}
