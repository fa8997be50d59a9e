-- Send ultrasound clips to the node as they come; what echoseg made stays here.
function OnStoredInstance(instanceId, tags, metadata, origin)
  if tags["Modality"] == "US" and tags["Manufacturer"] ~= "echoseg" then
    SendToModality(instanceId, "echoseg")
  end
end
