package group

import "github.com/troupe-mq/troupe/wire"

// PartitionOf returns the partition of the offsets topic that a group's records are in, and whose leader coordinates it.
func PartitionOf(id wire.GroupID, partitions int32) int32 { return id.Partition(partitions) }
