-- Send ultrasound clips to the node as they come; what echoseg made of them stays here.
local capture = "1.2.840.10008.5.1.4.1.1.7"

function OnStoredInstance(instanceId, tags, metadata, origin)
  local own = tags["Manufacturer"] == "echoseg" and tags["SOPClassUID"]:sub(1, #capture) == capture
  if tags["Modality"] == "US" and not own then
    SendToModality(instanceId, "echoseg")
  end
end
