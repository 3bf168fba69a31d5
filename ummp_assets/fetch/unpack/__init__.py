"""Archives and tables to samples, under limits on members, bytes, ratio and depth; no path of an archive ever touches
the file system."""

from ummp_assets.fetch.unpack.members import BrokenMember, Member, UnpackStopped
from ummp_assets.fetch.unpack.names import MemberNames, storable
from ummp_assets.fetch.unpack.unpack import unpack

__all__ = ["BrokenMember", "Member", "MemberNames", "UnpackStopped", "storable", "unpack"]
